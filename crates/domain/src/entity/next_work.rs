//! The next work of an entity, when it is due, and its row in the queue.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::entity::aggregate::Entity;
use crate::entity::claims::ClaimKey;
use crate::entity::reference_target::Target;
use crate::entity::state::{
    AttemptStep, BlockedOn, Drift, DriftPolicy, ManagementPolicy, OperationKind,
};
use crate::id::{BackendName, EntityId, Position};
use crate::time::Timestamp;

/// Priority of work. A user's change never waits behind drift checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Requested by a user.
    User = 0,
    /// A retry, or a correction of drift.
    Retry = 1,
    /// A drift check.
    Drift = 2,
}

/// What wakes a waiting entity before its due time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitsFor {
    /// A change of another entity.
    Entity(EntityId),
    /// A change of the entity with this name ([`ClaimKey::name`]), even one that takes the name later.
    Name(ClaimKey),
    /// An event of its backend, or of the configuration.
    Backend,
}

/// A row of the queue: an entity that is tracked, with or without work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueRow {
    /// The entity.
    pub entity: EntityId,
    /// Its backend.
    pub backend: BackendName,
    /// Priority of the work; meaningless when `due` is `None`.
    pub priority: Priority,
    /// When the oldest open request came; `None` when there is no work.
    pub since: Option<Timestamp>,
    /// When the work is due; `None` = no work, only drift checks.
    pub due: Option<Timestamp>,
    /// What wakes it before `due`; `None` = nothing.
    pub waits_for: Option<WaitsFor>,
    /// Names ([`ClaimKey::name`]) of the targets that it depends on.
    pub dependencies: BTreeSet<ClaimKey>,
    /// Position of the last event that changed the row.
    pub position: Position,
}

/// Work of an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// Earliest time.
    pub due: Timestamp,
    /// When the oldest open request came.
    pub since: Timestamp,
    /// Its priority.
    pub priority: Priority,
    /// What wakes it before `due`; `None` = nothing.
    pub waits_for: Option<WaitsFor>,
}

impl Entity {
    /// Whether it has a row in the queue: it is not deleted, or has strays left.
    #[must_use]
    pub fn is_tracked(&self) -> bool {
        self.exists() && (!self.is_deleted() || !self.strays.is_empty())
    }

    /// Whether known drift is to be corrected. What others added is not.
    #[must_use]
    pub fn corrects_drift(&self) -> bool {
        let settings = &self.manifest.settings;
        self.drift.as_ref().is_some_and(Drift::is_correctable)
            && settings.drift_policy == DriftPolicy::Correct
            && settings.management_policy == ManagementPolicy::Full
    }

    /// The pending work; `None` = only drift checks. A function of the fold alone.
    #[must_use]
    pub fn work(&self) -> Option<Work> {
        self.work_besides(None)
    }

    /// As [`work`](Self::work), when the values of the entity's references changed at `since`: it has to follow them,
    /// or to report that it cannot.
    #[must_use]
    pub fn work_of_references(&self, since: Timestamp) -> Option<Work> {
        self.work_besides(Some(since).filter(|_| self.follows_references()))
    }

    /// Its row in the queue, with `work`, as of the event at `position`; `None` = it needs no row.
    #[must_use]
    pub fn queue_row(&self, work: Option<Work>, position: Position) -> Option<QueueRow> {
        self.is_tracked().then(|| QueueRow {
            entity: self.id,
            backend: self.manifest.backend.clone(),
            priority: work.as_ref().map_or(Priority::Drift, |work| work.priority),
            since: work.as_ref().map(|work| work.since),
            due: work.as_ref().map(|work| work.due),
            waits_for: work.and_then(|work| work.waits_for),
            dependencies: self.dependency_names(),
            position,
        })
    }

    fn work_besides(&self, follows: Option<Timestamp>) -> Option<Work> {
        if !self.is_tracked() {
            return None;
        }
        let oldest = self.operations.first().map(|oldest| oldest.since);
        let since = oldest.or(follows).unwrap_or(self.updated_at);
        let fresh = self.trouble.failures == 0 && !self.operations.is_empty();
        let priority = if fresh { Priority::User } else { Priority::Retry };
        let at = |due: Timestamp| Some(Work { due, since, priority, waits_for: None });
        if let Some(running) = &self.running {
            // The holder of the lease continues it. Without a lease, or when it is to be stopped, it is due at once.
            return at(match &running.pending {
                Some((_, poll_at)) if !self.is_to_be_stopped() => *poll_at,
                _ => running.since,
            });
        }
        if follows.is_none() && !self.has_something_to_do() {
            return None;
        }
        // A requested observation is never blocked.
        if let Some(blocked) = self.blocked.as_ref().filter(|_| !self.is_to_be_refreshed()) {
            if blocked.check_at == Timestamp::NEVER {
                return None;
            }
            let waits_for = match &blocked.on {
                BlockedOn::Entity(on) | BlockedOn::InUse(on) => Some(WaitsFor::Entity(*on)),
                BlockedOn::Reference(Target { kind, name }) => {
                    let namespace = &self.manifest.namespace;
                    Some(WaitsFor::Name(ClaimKey::name_of(namespace, kind, name)))
                }
                BlockedOn::Backend | BlockedOn::Secret => Some(WaitsFor::Backend),
                BlockedOn::Decision
                | BlockedOn::ObjectTaken
                | BlockedOn::Quota
                | BlockedOn::InUseOutside
                | BlockedOn::MissingOutside
                | BlockedOn::Refused
                | BlockedOn::NotConverging
                | BlockedOn::Schema => None,
            };
            return Some(Work { due: blocked.check_at, since, priority, waits_for });
        }
        at(self.trouble.retry_at.unwrap_or(since).max(since))
    }

    /// Whether the running call is to be aborted: a user cancelled its operation, or requested a deletion.
    #[must_use]
    pub fn is_to_be_stopped(&self) -> bool {
        self.running.as_ref().is_some_and(|running| {
            let leaves = matches!(
                running.step,
                AttemptStep::Delete | AttemptStep::Replace { .. } | AttemptStep::CleanUp { .. }
            );
            running.cancel.is_some() || (self.deletion.is_some() && !leaves)
        })
    }

    fn is_to_be_refreshed(&self) -> bool {
        self.operations.iter().any(|open| open.kind == OperationKind::Refresh)
    }

    fn has_something_to_do(&self) -> bool {
        if self.is_to_be_refreshed() {
            return true;
        }
        if self.paused.is_some() && !self.is_deleted() {
            return false;
        }
        if !self.strays.is_empty() || self.next_action().is_some() {
            return true;
        }
        if self.is_deleted() || self.trouble.erred {
            return false;
        }
        self.deletion.is_some()
            || self.wants_sync()
            || self.corrects_drift()
            || !self.operations.is_empty()
            // No request is open, but a target that the object was made from is gone.
            || self.blocked.as_ref().is_some_and(|it| matches!(it.on, BlockedOn::Reference(_)))
    }
}
