//! Failpoints before and after each call. In test builds, `return` aborts the process there and `return(n)` sleeps n
//! milliseconds; other builds have none.

use std::time::Duration;

use fail::fail_point;

/// Names of the failpoints of the drivers.
pub const FAILPOINTS: &[&str] = &[
    "driver::identity::before",
    "driver::identity::after",
    "driver::health::before",
    "driver::health::after",
    "driver::verify::before",
    "driver::verify::after",
    "driver::list::before",
    "driver::list::after",
    "driver::observe::before",
    "driver::observe::after",
    "driver::obstacle::before",
    "driver::obstacle::after",
    "driver::find::before",
    "driver::find::after",
    "driver::create::before",
    "driver::create::after",
    "driver::update::before",
    "driver::update::after",
    "driver::delete::before",
    "driver::delete::after",
    "driver::action::before",
    "driver::action::after",
    "driver::resume::before",
    "driver::resume::after",
    "driver::cancel::before",
    "driver::cancel::after",
];

/// Aborts the process or sleeps here if a test configured the failpoint.
pub(super) async fn hit(name: &str) {
    if let Some(pause) = pause_at(name) {
        tokio::time::sleep(pause).await;
    }
}

fn pause_at(name: &str) -> Option<Duration> {
    debug_assert!(FAILPOINTS.contains(&name), "{name} is not listed");
    fail_point!(name, |pause| {
        let Some(pause) = pause else { std::process::abort() };
        pause.parse().ok().map(Duration::from_millis)
    });
    None
}
