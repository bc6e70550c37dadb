//! Configured backends at run time: settings, driver, and the gate that says whether work may begin.

pub mod availability;
pub(crate) mod bounded;
pub mod mass_absence;
mod redacting;
mod registry;
mod settings;

pub use registry::{Backend, Backends, BackendsByName};
pub use settings::{BackendSettings, BreakerPolicy, RetryPolicy};
pub use stateward_domain::system::BackendChange;
