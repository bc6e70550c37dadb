//! Failpoints: a test build aborts at one that is set to `return`; a release build has none.

/// Names of all failpoints of this crate.
pub const FAILPOINTS: &[&str] = &[
    "store::append::before",
    "store::append::after",
    "store::queue::advance::before",
    "store::queue::advance::after",
    "store::queue::lease::before",
    "store::queue::lease::after",
    "store::queue::renew::before",
    "store::queue::renew::after",
    "store::queue::release::before",
    "store::queue::release::after",
    "store::queue::release_all::before",
    "store::queue::release_all::after",
    "store::queue::void_snoozes::before",
    "store::queue::void_snoozes::after",
    "store::queue::seed::before",
    "store::queue::seed::after",
    "store::queue::reset::before",
    "store::queue::reset::after",
    "store::views::apply::before",
    "store::views::apply::after",
    "store::views::rebuild::before",
    "store::views::rebuild::after",
    "store::views::swap::before",
    "store::views::swap::after",
];

/// Aborts the process if a test armed this failpoint.
pub(crate) fn reach(name: &str) {
    debug_assert!(FAILPOINTS.contains(&name), "{name} is not listed");
    fail::fail_point!(name, |_| std::process::abort());
}
