//! An entity as this reader shows it, and the state that follows from the rest of it. `fold` has the events.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::event::{Event, Id, Observed, Settings, Step};

/// A managed entity.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Entity {
    /// Number of folded events.
    pub version: u64,
    /// `ok`, `erred`, `creating`, …; empty before the first event.
    pub state: String,
    /// Scope; it never changes, as kind, name and backend never do.
    pub namespace: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Backend.
    pub backend: String,
    /// What users want.
    pub desired: Value,
    /// What users set beside it.
    pub settings: Settings,
    /// Number of desired states.
    pub generation: u64,
    /// Number of changes by users.
    pub revision: u64,
    /// The last observation of the object.
    pub observed: Observed,
    /// Operations that have not ended: id and kind.
    pub operations: BTreeMap<Id, String>,
    /// Code of the last failure, until the next success or change.
    pub error: Option<String>,
    /// Whether the object is known to differ from what users want.
    pub drifted: bool,
    /// Set while the object is absent though it was present: what happens then.
    pub lost: Option<Value>,
    /// Whether changes are paused.
    pub paused: bool,
    /// Policy of the pending deletion.
    pub deletion: Option<Value>,
    /// Whether the object still exists though the entity does not.
    pub released: bool,
    /// What the fold needs beside.
    pub inner: Inner,
}

/// Parts of the fold that no reader shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Inner {
    pub(crate) applied: Option<(u64, Value)>,
    pub(crate) running: Option<Running>,
    pub(crate) erred: bool,
    pub(crate) error_class: String,
    pub(crate) replacing: bool,
    pub(crate) incarnation: u32,
    /// Whether what differs is more than what others added to the object.
    pub(crate) repairs: bool,
    pub(crate) strays: BTreeSet<Id>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Running {
    pub(crate) step: Step,
    pub(crate) was_present: bool,
    /// Its desired state once a newer one was requested.
    pub(crate) desired: Option<Value>,
}

impl Aggregate for Entity {
    const TYPE: &'static str = "entity";
    type Command = Infallible;
    type Event = Event;
    type Error = Infallible;
    type Services = ();

    /// A reader has no commands.
    async fn handle(
        &mut self,
        command: Infallible,
        (): &(),
        _: &EventSink<Self>,
    ) -> Result<(), Infallible> {
        match command {}
    }

    fn apply(&mut self, event: Event) {
        self.version += 1;
        // It changes nothing, not even what follows from the rest.
        if event != (Event::RequestRecorded {}) {
            self.evolve(event);
            self.state = self.derived_state().to_owned();
        }
    }
}

impl Entity {
    /// The open operation for the newest desired state.
    pub(crate) fn change(&self) -> Option<&Id> {
        let is_change = |kind: &str| ["create", "update", "adopt", "decide"].contains(&kind);
        self.operations.iter().find(|(_, kind)| is_change(kind)).map(|(id, _)| id)
    }

    /// The state follows from the rest; only `deleted` is final.
    fn derived_state(&self) -> &str {
        if self.state == "deleted" || self.state.is_empty() {
            return &self.state;
        }
        match self.inner.running.as_ref().map(|running| &running.step) {
            Some(Step::Create) => return "creating",
            Some(Step::Delete) => return "deleting",
            Some(Step::None) | None => {}
            Some(_) => return "updating",
        }
        if self.inner.erred {
            "erred"
        } else if self.deletion.is_some() {
            "deletion_scheduled"
        } else if !self.wants_sync() {
            "ok"
        } else if self.inner.applied.is_none() {
            "creation_scheduled"
        } else {
            "update_scheduled"
        }
    }

    fn wants_sync(&self) -> bool {
        if self.change().is_some() || self.inner.replacing {
            return true;
        }
        if let Some(policy) = &self.lost {
            return policy != "report";
        }
        let policy = self.settings.management_policy.as_deref();
        policy != Some("observe_only") && self.observed.generation != self.generation
    }
}
