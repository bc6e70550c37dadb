//! Tests that need the project for themselves: they run one at a time.

mod credentials;
mod estate;
mod import;
mod import_odd;
mod many;
mod seven_stacks;
