//! How one thing behaves: the member `_fake` of its desired state.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use serde_json::Value;
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::{EntityId, OwnerKey};

use super::faults::{Fault, class_of};

/// Sorts of calls that can be steered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Call {
    Observe,
    Create,
    Update,
    Delete,
    Action,
}

impl Call {
    const fn name(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Action => "action",
        }
    }
}

/// The member `_fake`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wishes {
    fail: BTreeMap<String, String>,
    times: Option<u32>,
    panic: Option<String>,
    /// The call whose failure repeats the password, as careless backends do.
    tell: Option<String>,
    /// What `dependency_not_ready` waits for.
    on: Option<EntityId>,
    pub(super) pending_ms: Option<u64>,
    pub(super) hide_ms: Option<u64>,
    pub(super) ignore_updates: bool,
}

impl Wishes {
    /// The wishes in a desired state; none when there are none, or none that can be read.
    pub(super) fn of(spec: &Value) -> Self {
        spec.get("_fake")
            .and_then(|wishes| serde_json::from_value(wishes.clone()).ok())
            .unwrap_or_default()
    }
}

/// Counts how often calls failed as they were asked to.
#[derive(Default)]
pub(super) struct Steering {
    failed: Mutex<HashMap<(OwnerKey, Call), u32>>,
}

impl Steering {
    /// Things whose failures are counted at most; beyond, all counts begin anew.
    const COUNTED_MAX: usize = 100_000;

    /// Fails, or panics, as `spec` wishes.
    pub(super) fn obey(&self, call: Call, key: &OwnerKey, spec: &Value) -> Result<(), Failure> {
        let wishes = Wishes::of(spec);
        assert!(wishes.panic.as_deref() != Some(call.name()), "asked to panic");
        let tells = wishes.tell.as_deref() == Some(call.name());
        let told = tells.then(|| spec["password"].as_str()).flatten();
        let transient = || told.map(|_| ErrorClass::Transient.name().to_owned());
        let Some(class) = wishes.fail.get(call.name()).cloned().or_else(transient) else {
            return Ok(());
        };
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.len() >= Self::COUNTED_MAX {
            failed.clear();
        }
        let count = failed.entry((key.clone(), call)).or_default();
        if *count >= wishes.times.unwrap_or(1) {
            return Ok(());
        }
        *count += 1;
        let waits = wishes.on.filter(|_| class == "dependency_not_ready");
        let class =
            waits.map(|on| ErrorClass::DependencyNotReady { on }).or_else(|| class_of(&class));
        let failure = class.map(|class| Fault::new(class).before());
        match (failure, told) {
            (None, _) => Ok(()),
            (Some(failure), None) => Err(failure),
            (Some(failure), Some(told)) => {
                Err(Failure { message: format!("{told} is too weak"), ..failure })
            }
        }
    }
}
