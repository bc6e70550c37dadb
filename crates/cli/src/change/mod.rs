//! Changes of entities: `one_entity` sends one, `bulk` sends one to each of many, `wait` waits for their operations,
//! `results` prints what came of them.

pub(crate) mod bulk;
pub(crate) mod one_entity;
pub(crate) mod results;
pub(crate) mod wait;
