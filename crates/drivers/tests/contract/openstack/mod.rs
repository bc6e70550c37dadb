//! The driver `openstack` against a real cloud: `make test-openstack` runs these with whatever cloud `OS_CLOUD`
//! names. Everywhere else they say that they were skipped.
//!
//! They make what they need in the project, and delete it again, also when a promise was broken.
#![expect(clippy::print_stdout, reason = "says what it skips and what it leaves behind")]

mod actions;
#[path = "../../../../../tests/openstack/cloud.rs"]
#[expect(dead_code, reason = "shared with the tests of the binary, which use all of it")]
mod cloud;
mod drift;
mod env;
mod faults;
mod kinds;
mod network;
mod plans;
mod storage_and_compute;

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::{Arc, Once};

use futures_util::FutureExt;
use serde_json::{Map, Value};
use stateward_domain::id::EntityId;
use stateward_domain::ports::driver::Driver;

use crate::subject::Subject;
pub(crate) use kinds::KINDS;

/// Set by `make test-openstack`: a cloud that happens to be configured is not ours to make things in.
const WANTED: &str = "STATEWARD_TEST_OPENSTACK";
/// A cloud whose credentials may make projects; without it that kind is skipped.
const ADMIN: &str = "STATEWARD_TEST_ADMIN_CLOUD";

/// The driver for a kind; `None`, with the reason printed, where no cloud is wanted. Projects need another
/// cloud of `clouds.yaml`, with an administrator's credentials: the one that `ADMIN` names.
pub(crate) fn cloud_for(kind: &str) -> Option<Arc<dyn Driver>> {
    if std::env::var_os(WANTED).is_none() {
        skipped();
        return None;
    }
    let mut settings = Map::new();
    if kind == "openstack.project" {
        let Ok(cloud) = std::env::var(ADMIN) else {
            println!("skipped: {ADMIN} names no cloud");
            return None;
        };
        settings.insert("cloud".to_owned(), Value::from(cloud));
    }
    Some(stateward_drivers::connect("openstack", &settings).expect("OS_CLOUD names a cloud"))
}

/// Says once what is skipped, past the capture of a test that passes.
fn skipped() {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        let line = "skipped: everything that needs a cloud; see `make test-openstack`";
        // Nobody may be there to read it.
        #[expect(clippy::disallowed_methods, reason = "past the capture of the test harness")]
        let _ = writeln!(std::io::stderr(), "{line}");
    });
}

/// A subject that owns its objects alone.
pub(crate) fn subject(
    driver: &Arc<dyn Driver>,
    kind: &str,
    desired: Vec<Value>,
    immutable: Value,
) -> Subject {
    // Chance, so that nobody else who tests in the project owns them.
    let owner = EntityId(uuid::Builder::from_random_bytes(rand::random()).into_uuid());
    let mut subject = Subject::new(driver, kind, desired, immutable);
    subject.owner = owner;
    subject
}

/// Runs `test`, then `clean`, whatever became of `test`.
pub(crate) async fn then_clean_up(test: impl Future<Output = ()>, clean: impl Future<Output = ()>) {
    let outcome = AssertUnwindSafe(test).catch_unwind().await;
    clean.await;
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}
