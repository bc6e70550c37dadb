//! Crash points around each call: a test build dies there when one is set to `return`, and stands still for n
//! milliseconds when it is set to `return(n)`; a plain build has none.

use std::time::Duration;

use fail::fail_point;

/// Names of the crash points of the drivers.
pub const FAILPOINTS: &[&str] = &[
    "driver::identity::before",
    "driver::identity::after",
    "driver::health::before",
    "driver::health::after",
    "driver::list::before",
    "driver::list::after",
    "driver::observe::before",
    "driver::observe::after",
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

/// The process dies or stands still here when a test asked for it.
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
