//! Configured backends at run time: settings, redacting driver, availability, mass-absence detection.

pub(crate) mod answer_limits;
pub mod availability;
mod breaker;
pub mod mass_absence;
mod redacting;
mod registry;
mod settings;

pub use registry::{Backend, Backends, BackendsByName};
pub use settings::{BackendSettings, BreakerPolicy, RetryPolicy};
pub use stateward_domain::system::BackendChange;
