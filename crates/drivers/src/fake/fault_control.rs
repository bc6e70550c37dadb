//! Fault control of one thing: the member `_fake` of its desired state says which of its calls fail, and how.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use serde_json::Value;
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::{EntityId, OwnerKey};

use super::random_faults::{InjectedFault, class_of};

/// Calls that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ControlledCall {
    Observe,
    Create,
    Update,
    Delete,
    Action,
}

impl ControlledCall {
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
pub(super) struct FaultControl {
    fail: BTreeMap<String, String>,
    times: Option<u32>,
    panic: Option<String>,
    /// The call whose failure message repeats the password, as careless backends do.
    #[serde(rename = "tell")]
    leak_password_in: Option<String>,
    /// The entity that a `dependency_not_ready` failure waits for.
    on: Option<EntityId>,
    pub(super) pending_ms: Option<u64>,
    pub(super) hide_ms: Option<u64>,
    pub(super) ignore_updates: bool,
    /// What uses the thing outside of the log, and keeps it from being deleted; `None` or empty = nothing.
    used_by: Option<String>,
    /// Why the thing cannot be used; `None` or empty = it can.
    pub(super) unready: Option<String>,
}

impl FaultControl {
    /// The fault control in a desired state; the default if it has none, or none that can be read.
    pub(super) fn of(spec: &Value) -> Self {
        spec.get("_fake")
            .and_then(|control| serde_json::from_value(control.clone()).ok())
            .unwrap_or_default()
    }

    /// What keeps the thing from being deleted.
    pub(super) fn obstacle(&self) -> Option<Failure> {
        let by = self.used_by.as_ref().filter(|by| !by.is_empty())?;
        Some(Failure::harmless(ErrorClass::InUseOutside, "in_use", format!("{by} uses it")))
    }
}

/// Makes calls fail as the desired state asks, and counts how often each of them did.
#[derive(Default)]
pub(super) struct FaultInjector {
    failed: Mutex<HashMap<(OwnerKey, ControlledCall), u32>>,
}

impl FaultInjector {
    /// Things whose failures are counted at most; beyond that, all counts start again.
    const COUNTED_MAX: usize = 100_000;

    /// Fails or panics as the fault control in `spec` asks.
    ///
    /// # Errors
    /// The failure that was asked for, until it happened `times` times.
    pub(super) fn inject(
        &self,
        call: ControlledCall,
        key: &OwnerKey,
        spec: &Value,
    ) -> Result<(), Failure> {
        let control = FaultControl::of(spec);
        assert!(control.panic.as_deref() != Some(call.name()), "asked to panic");
        let leaks = control.leak_password_in.as_deref() == Some(call.name());
        let leaked = leaks.then(|| spec["password"].as_str()).flatten();
        let transient = || leaked.map(|_| ErrorClass::Transient.name().to_owned());
        let Some(class) = control.fail.get(call.name()).cloned().or_else(transient) else {
            return Ok(());
        };
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.len() >= Self::COUNTED_MAX {
            failed.clear();
        }
        let count = failed.entry((key.clone(), call)).or_default();
        if *count >= control.times.unwrap_or(1) {
            return Ok(());
        }
        *count += 1;
        let waits = control.on.filter(|_| class == "dependency_not_ready");
        let class =
            waits.map(|on| ErrorClass::DependencyNotReady { on }).or_else(|| class_of(&class));
        let failure = class.map(|class| InjectedFault::new(class).without_effect());
        match (failure, leaked) {
            (None, _) => Ok(()),
            (Some(failure), None) => Err(failure),
            (Some(failure), Some(leaked)) => {
                Err(Failure { message: format!("{leaked} is too weak"), ..failure })
            }
        }
    }
}
