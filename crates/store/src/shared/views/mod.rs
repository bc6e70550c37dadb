//! The rules of the read models `entities` and `operations` that need no database: an adapter adds its statements.
//!
//! - `fold`: what a batch of events makes of the rows that it touches; `row_cache`: rows in memory
//! - `labels_and_counts`: rows that follow from an entity's row; `columns`: the value of each column
//! - `plan`: which index serves a filter, and what is left to test; `index`: the indexes; `page`: pages of a list

pub(crate) mod columns;
#[cfg(test)]
pub(crate) mod filter_cases;
pub(crate) mod fold;
pub(crate) mod index;
pub(crate) mod labels_and_counts;
pub(crate) mod page;
pub(crate) mod plan;
pub(crate) mod row_cache;
