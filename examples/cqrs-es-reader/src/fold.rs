//! The rules by which events change an entity: those of Stateward's own fold (`crates/domain/src/entity/evolve`), which
//! `tests/interop` compares with these event by event.

use serde_json::Value;

use crate::entity::{Entity, Running};
use crate::event::{Decision, Event, Failure, Id, Observed, Presence, Settings, Step};

/// Stray objects that are kept, at most.
const STRAYS_MAX: usize = 64;

impl Entity {
    /// Folds one event into all but version and state.
    pub(crate) fn evolve(&mut self, event: Event) {
        match event {
            Event::SyncStarted { .. }
            | Event::ExternalIdRecorded { .. }
            | Event::SyncCompleted { .. }
            | Event::SyncFailed { .. }
            | Event::StrayFound { .. } => self.on_sync(event),
            Event::DriftDetected { observed, diff } => {
                self.observed = observed;
                self.drifted = true;
                self.inner.repairs = diff.is_empty() || diff.iter().any(|field| !field.addition);
                self.object_returned();
            }
            Event::DriftCleared { observed } => {
                self.observed = observed;
                self.drifted = false;
                self.object_returned();
            }
            Event::ObservedChanged { observed, lost } => {
                let absent = observed.presence == Presence::Absent;
                self.observed = observed;
                match lost {
                    Some(policy) => (self.lost, self.drifted) = (Some(policy), false),
                    None if absent => {}
                    None => self.object_returned(),
                }
            }
            Event::ErrorCleared { observed } => {
                self.observed = observed;
                self.object_returned();
                if !(self.drifted && self.inner.repairs)
                    && self.observed.generation == self.generation
                {
                    self.inner.applied = Some((self.generation, self.desired.clone()));
                }
                self.fresh_start();
            }
            Event::ObjectContested { external_id, holds } => self.contested(external_id, holds),
            Event::OperationSuperseded { operation_id } => self.close(&[operation_id]),
            Event::OperationCancelled { operation_id } => self.cancelled(operation_id),
            Event::Deleted { operations } => {
                self.end(&operations);
                self.observed = Observed::default();
            }
            Event::Released { operations } => {
                self.end(&operations);
                self.released = true;
            }
            request => self.on_request(request),
        }
    }

    fn on_request(&mut self, event: Event) {
        match event {
            Event::CreateRequested {
                operation_id,
                namespace,
                kind,
                name,
                backend,
                desired,
                settings,
                external_id,
            } => {
                (self.namespace, self.kind, self.name, self.backend) =
                    (namespace, kind, name, backend);
                (self.desired, self.settings) = (desired, settings);
                (self.generation, self.revision) = (1, self.revision + 1);
                "creation_scheduled".clone_into(&mut self.state);
                if let Some(id) = external_id {
                    self.bind(id);
                }
                self.open(operation_id, "create");
            }
            Event::UpdateRequested { operation_id, desired } => {
                self.new_desired(desired);
                if self.inner.erred {
                    self.deletion = None;
                }
                self.open(operation_id, "update");
                self.fresh_start();
            }
            Event::DeleteRequested { operation_id, policy } => {
                self.deletion = Some(policy);
                self.open(operation_id, "delete");
                self.fresh_start();
            }
            Event::ActionRequested { operation_id, action } => {
                self.open(operation_id, &format!("action:{action}"));
            }
            Event::RefreshRequested { operation_id } => self.open(operation_id, "refresh"),
            Event::RetryRequested { operation_id } => {
                self.open(operation_id, "retry");
                self.fresh_start();
            }
            Event::AdoptRequested { operation_id, external_id } => {
                self.open(operation_id, "adopt");
                self.bind(external_id);
                self.fresh_start();
            }
            Event::DecisionTaken { operation_id, decision, failed } => {
                self.fresh_start();
                self.close(&failed);
                self.decided(operation_id, decision);
            }
            Event::SettingsChanged { settings } => self.set(settings),
            Event::Paused {} => self.paused = true,
            Event::Resumed {} => self.paused = false,
            _ => {}
        }
    }

    fn on_sync(&mut self, event: Event) {
        match event {
            Event::SyncStarted { incarnation, step, was_present } => {
                if step == Step::Create && incarnation != self.inner.incarnation {
                    self.inner.incarnation = incarnation;
                    self.observed.external_id = None;
                }
                self.inner.replacing =
                    step == (Step::Replace {}) || (self.inner.replacing && !was_present);
                if !matches!(step, Step::None | Step::CleanUp { .. }) {
                    self.observed.presence = Presence::Unknown;
                }
                self.inner.running = Some(Running { step, was_present, desired: None });
            }
            Event::ExternalIdRecorded { external_id } => {
                self.observed.external_id = Some(external_id);
            }
            Event::SyncCompleted { generation, step, observed, operations } => {
                self.completed(generation, &step, observed);
                self.close(&operations);
            }
            Event::SyncFailed { error, operations } => {
                self.failed(error);
                self.close(&operations);
            }
            Event::StrayFound { external_id }
                if !self.released && self.inner.strays.len() < STRAYS_MAX =>
            {
                self.inner.strays.insert(external_id);
            }
            _ => {}
        }
    }

    fn completed(&mut self, generation: u64, step: &Step, observed: Observed) {
        let older = self.inner.running.take().and_then(|running| running.desired);
        if let Step::CleanUp { external_id } = step {
            self.inner.strays.remove(external_id);
            return;
        }
        self.observed = observed;
        let present = self.observed.presence == Presence::Present;
        if *step == (Step::Replace {}) {
            self.drifted = false;
        } else if present {
            self.inner.replacing = false;
        }
        // Neither an observation nor an action ends the state `erred`.
        if self.inner.erred {
            return;
        }
        if present && self.observed.generation == generation {
            let desired = older.unwrap_or_else(|| self.desired.clone());
            self.inner.applied = Some((generation, desired));
            self.drifted &= matches!(step, Step::None | Step::Action {});
        }
        if present {
            self.lost = None;
        }
        self.fresh_start();
    }

    fn failed(&mut self, error: Failure) {
        let running = self.inner.running.take();
        let changing = running.filter(|running| {
            error.harmless && !matches!(running.step, Step::None | Step::CleanUp { .. })
        });
        if let Some(running) = changing {
            self.observed.presence =
                if running.was_present { Presence::Present } else { Presence::Absent };
            self.inner.replacing &= running.step != (Step::Replace {});
        }
        self.inner.erred |= error.last;
        (self.error, self.inner.error_class) = (Some(error.code), error.class);
    }

    fn decided(&mut self, id: Id, decision: Decision) {
        match decision {
            Decision::Adopt(external_id) => self.bind(external_id),
            Decision::Create if self.lost.is_some() => self.lost = Some("recreate".into()),
            Decision::Create => {}
            Decision::GiveUp => {
                self.inner.erred = true;
                "cancelled".clone_into(&mut self.inner.error_class);
                self.error = Some("given_up".to_owned());
                return;
            }
        }
        if self.change().is_none() {
            self.open(id, "decide");
        }
    }

    fn set(&mut self, new: Settings) {
        let refused =
            self.inner.erred && self.error.is_some() && self.inner.error_class == "immutable";
        if new.replace.as_deref() == Some("allowed") && refused {
            self.fresh_start();
        }
        if new.protected.or(self.settings.protected) == Some(true) && self.inner.erred {
            self.deletion = None;
        }
        let old = &mut self.settings;
        old.labels = new.labels.or(old.labels.take());
        old.management_policy = new.management_policy.or(old.management_policy.take());
        old.deletion_policy = new.deletion_policy.or(old.deletion_policy.take());
        old.replace = new.replace.or(old.replace.take());
        old.protected = new.protected.or(old.protected);
        self.revision += 1;
    }

    /// The object that another entity manages is no stray, and nothing of it is kept.
    fn contested(&mut self, id: Id, holds: bool) {
        if holds || self.inner.strays.remove(&id) || self.state == "deleted" {
            return;
        }
        if self.observed.external_id.as_ref() != Some(&id) {
            return;
        }
        let absent = self.observed.presence == Presence::Absent;
        let presence = if absent { Presence::Absent } else { Presence::Unknown };
        self.observed = Observed { presence, external_id: Some(id), ..Observed::default() };
        self.drifted = false;
    }

    fn cancelled(&mut self, id: Id) {
        let kind = self.operations.get(&id).cloned();
        self.close(&[id]);
        match kind.as_deref() {
            Some("delete") => {
                self.deletion = None;
                self.fresh_start();
            }
            Some("create" | "update" | "adopt" | "decide") if self.deletion.is_none() => {
                self.fresh_start();
                match self.inner.applied.clone() {
                    Some((_, desired)) if desired != self.desired => self.new_desired(desired),
                    Some(_) => {}
                    None => {
                        let policy = self.settings.deletion_policy.clone();
                        self.deletion = Some(policy.unwrap_or_else(|| "delete".into()));
                    }
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, operations: &[Id]) {
        self.close(operations);
        self.fresh_start();
        (self.deletion, self.lost, self.drifted) = (None, None, false);
        (self.inner.running, self.inner.replacing) = (None, false);
        "deleted".clone_into(&mut self.state);
    }

    fn bind(&mut self, id: Id) {
        (self.observed.external_id, self.observed.presence) = (Some(id), Presence::Unknown);
        (self.inner.replacing, self.lost) = (false, None);
    }

    fn object_returned(&mut self) {
        self.inner.replacing &= self.observed.presence != Presence::Present;
        self.lost = None;
    }

    fn new_desired(&mut self, desired: Value) {
        let old = std::mem::replace(&mut self.desired, desired);
        if let Some(running) = &mut self.inner.running {
            running.desired.get_or_insert(old);
        }
        self.generation += 1;
        self.revision += 1;
    }

    fn fresh_start(&mut self) {
        (self.inner.erred, self.error) = (false, None);
    }

    fn open(&mut self, id: Id, kind: &str) {
        self.operations.insert(id, kind.to_owned());
    }

    fn close(&mut self, ids: &[Id]) {
        self.operations.retain(|id, _| !ids.contains(id));
    }
}
