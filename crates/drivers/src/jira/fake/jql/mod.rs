//! The subset of JQL that the fake knows: comparisons of the usual fields, `and`, `or`, `not`, parentheses, `order by`.
//!
//! - `parse`: from text to a query
//! - `evaluate`: whether an issue matches, and the order of issues

pub(crate) mod evaluate;
pub(crate) mod parse;
