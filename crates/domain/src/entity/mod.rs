//! The entity: events, state, decisions.
//!
//! `command` says what may be asked, `decide` answers with events, `evolve` folds them, `work` says what is to
//! be done next, `operations` what an event means for operations, `progress` what it makes of their
//! rows, `claims` what it takes and frees, `references` what a desired state takes from other entities,
//! `replacement` whether its object may go for another.

pub mod aggregate;
pub mod claims;
pub mod command;
pub mod conditions;
mod decide;
pub mod event;
mod evolve;
pub mod operations;
pub mod progress;
pub mod references;
pub mod replacement;
pub mod state;
pub mod work;

pub use aggregate::Entity;
pub use command::{Command, Refusal};
pub use event::EntityEvent;
pub use state::State;
