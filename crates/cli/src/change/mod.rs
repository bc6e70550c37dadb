//! Changes of entities: `single` sends one, `bulk` sends one to each of many.

pub(crate) mod bulk;
pub(crate) mod single;
