//! Reads Stateward's log on PostgreSQL with cqrs-es and postgres-es alone: `event`, `entity` and `fold` are a model of
//! its entities, `upcasters` bring stored events to it, `replay` reads whole streams and counts what was read.

pub mod entity;
pub mod event;
mod fold;
pub mod replay;
pub mod upcasters;
