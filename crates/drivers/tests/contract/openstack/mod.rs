//! The driver `openstack` against a real cloud: `make test-openstack` runs these with the cloud that `OS_CLOUD` names.
//! Otherwise they record that they were skipped.
//!
//! They create what they need in the project, and delete it again, also after a failure.
#![expect(clippy::print_stdout, reason = "says what it skips and what it leaves behind")]

mod actions;
#[path = "../../../../../tests/openstack/cloud.rs"]
#[expect(dead_code, reason = "shared with the tests of the binary, which use all of it")]
mod cloud;
mod drift;
mod faults;
mod kinds;
mod plans;
mod plans_network;
mod plans_storage_and_compute;
mod prerequisites;

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;

use futures_util::FutureExt;
use serde_json::{Map, Value};
use stateward_domain::id::EntityId;
use stateward_domain::ports::driver::Driver;

use crate::kind_under_test::Subject;
use crate::skip::skipped;
pub(crate) use kinds::KINDS;

/// Set by `make test-openstack`: without it, a configured cloud must not be touched.
const WANTED: &str = "STATEWARD_TEST_OPENSTACK";
/// A cloud whose credentials may create projects; without it that kind is skipped.
const ADMIN: &str = "STATEWARD_TEST_ADMIN_CLOUD";

/// The driver for a kind; `None`, with the reason recorded, where no cloud is wanted. Projects need another
/// cloud of `clouds.yaml`, with an administrator's credentials: the one that `ADMIN` names.
pub(crate) fn cloud_for(kind: &str) -> Option<Arc<dyn Driver>> {
    if std::env::var_os(WANTED).is_none() {
        skipped("needs a cloud, see `make test-openstack`");
        return None;
    }
    let mut settings = Map::new();
    if kind == "openstack.project" {
        let Ok(cloud) = std::env::var(ADMIN) else {
            skipped(&format!("{ADMIN} names no cloud"));
            return None;
        };
        settings.insert("cloud".to_owned(), Value::from(cloud));
    }
    Some(crate::call_control::connect("openstack", &settings).expect("OS_CLOUD names a cloud"))
}

/// A subject with an owner of its own.
pub(crate) fn subject(
    driver: &Arc<dyn Driver>,
    kind: &str,
    desired: Vec<Value>,
    immutable: Value,
) -> Subject {
    // Random, so that concurrent tests in the project do not share it.
    let owner = EntityId(uuid::Builder::from_random_bytes(rand::random()).into_uuid());
    let mut subject = Subject::new(driver, kind, desired, immutable);
    subject.owner = owner;
    subject
}

/// Runs `test`, then `clean`, even if `test` panicked.
pub(crate) async fn then_clean_up(test: impl Future<Output = ()>, clean: impl Future<Output = ()>) {
    let outcome = AssertUnwindSafe(test).catch_unwind().await;
    clean.await;
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}
