//! Changes of entities: `single` sends one, `bulk` sends one to each of many, `wait` waits for their operations,
//! `results` prints what came of them.

pub(crate) mod bulk;
pub(crate) mod results;
pub(crate) mod single;
pub(crate) mod wait;
