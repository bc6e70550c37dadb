//! What needs the project for itself: these run one at a time.

mod import;
mod many;
