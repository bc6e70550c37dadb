//! What people see: `output` has the forms, `render` how each type of resource is printed, `terminal` the streams.

pub(crate) mod output;
pub(crate) mod render;
pub(crate) mod terminal;
