//! What goes over the wire. Members never change their names.

pub(crate) mod entity;
pub(crate) mod event;
pub(crate) mod manifest;
pub(crate) mod operation;
pub(crate) mod patch;
pub(crate) mod time;
