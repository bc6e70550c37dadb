//! Bodies of requests and responses. Their members are never renamed.

pub(crate) mod entity;
pub(crate) mod event;
pub(crate) mod manifest;
pub(crate) mod operation;
pub(crate) mod patch;
pub(crate) mod time;
