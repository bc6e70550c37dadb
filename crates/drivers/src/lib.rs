//! The drivers: each observes and changes the objects of its kinds in one type of backend.
//!
//! Invariants of all drivers:
//! - A driver keeps no state that matters and never retries; see [`stateward_domain::ports::driver`].
//! - [`connect`] wraps every driver in [`Instrumented`], which enforces deadlines, catches panics and rejects invalid
//!   replies, so that a driver need not.
//! - No error text holds a secret or a raw reply.
//!
//! To add a driver: (1) write its module with the JSON Schema of each kind beside it, (2) name the module and add a
//! line to `DRIVERS` below, (3) run the contract suite for each of its kinds from `tests/`.
#![warn(missing_docs)]

pub mod address_check;
pub mod fake;
mod field_plan;
mod http;
mod instrumented;
pub mod jira;
pub mod local;
mod nearest_name;
pub mod openstack;
mod resource_exhaustion;
mod settings;

use std::sync::Arc;

use stateward_domain::kind::KindSpec;
use stateward_domain::ports::driver::Driver;
use stateward_domain::time::SteadyClock;

pub use instrumented::{FAILPOINTS, Instrumented};
pub use settings::{ConnectError, Settings};

type Connect = fn(&Settings, &Arc<dyn SteadyClock>) -> Result<Arc<dyn Driver>, ConnectError>;

/// A registered driver.
struct Entry {
    name: &'static str,
    kinds: fn() -> Vec<KindSpec>,
    connect: Connect,
}

const DRIVERS: &[Entry] = &[
    Entry { name: fake::NAME, kinds: fake::kinds, connect: |settings, _| fake::connect(settings) },
    Entry { name: jira::NAME, kinds: jira::kinds, connect: jira::connect },
    Entry {
        name: local::NAME,
        kinds: local::kinds,
        connect: |settings, _| local::connect(settings),
    },
    Entry { name: openstack::NAME, kinds: openstack::kinds, connect: openstack::connect },
];

/// Connects to a backend. Sends nothing over a network, so a backend that is down shows in `health`; blocks for some
/// disk access at most. `clock` measures what a driver keeps for a while, such as a token.
///
/// # Errors
/// [`ConnectError::UnknownDriver`], [`ConnectError::Settings`] for an unknown or malformed key, and
/// [`ConnectError::Unusable`] if the backend cannot be used with the settings (a root that cannot be created).
pub fn connect(
    driver: &str,
    settings: &Settings,
    clock: &Arc<dyn SteadyClock>,
) -> Result<Arc<dyn Driver>, ConnectError> {
    let entry = DRIVERS.iter().find(|entry| entry.name == driver).ok_or_else(|| {
        let known = DRIVERS.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ");
        ConnectError::UnknownDriver { name: driver.to_owned(), known }
    })?;
    let inner = (entry.connect)(settings, clock)?;
    Ok(Arc::new(Instrumented::new(entry.name, inner)))
}

/// The kinds of all drivers, including those that no backend uses.
#[must_use]
pub fn kinds() -> Vec<KindSpec> {
    DRIVERS.iter().flat_map(|entry| (entry.kinds)()).collect()
}
