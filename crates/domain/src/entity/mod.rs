//! The entity: events, state, decisions.
//!
//! `command`: requests and reports; `decide` turns them into events, `evolve` folds events; `next_work`: the next work;
//! `operation`: what an event changes of operations; `claims`: what it takes and frees; `references`: values that a
//! desired state takes from its `reference_target`s; `replacement`: whether its object may be replaced.

pub mod aggregate;
pub mod claims;
pub mod command;
pub mod conditions;
mod cqrs_es_aggregate;
mod decide;
pub mod event;
mod evolve;
pub mod next_work;
pub mod operation;
pub mod reference_target;
pub mod references;
pub mod replacement;
pub mod state;

pub use aggregate::Entity;
pub use command::{Command, Refusal};
pub use event::EntityEvent;
pub use state::State;
