//! Conditions: what users and alerts watch beside the state. Derived, never stored.

use serde::Serialize;

use crate::document;
use crate::entity::aggregate::Entity;
use crate::entity::state::{Difference, Presence};
use crate::time::Timestamp;

/// Shown between the halves of a replacement, beside any other error.
const GONE: &str = "the old object is gone and the new one is not there yet";

const SHARED: &str = "another entity names the same object and is blocked; this one manages it";

/// One condition, in the shape of Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// `synced`, `ready`, `drifted`, `paused`, `blocked`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Whether it holds.
    pub status: bool,
    /// `CamelCase`, for programs.
    pub reason: &'static str,
    /// For people; may be empty.
    pub message: String,
    /// When it last changed.
    pub since: Timestamp,
}

impl Entity {
    /// All five conditions, in fixed order.
    #[must_use]
    pub fn conditions(&self) -> Vec<Condition> {
        vec![
            self.synced_condition(),
            self.ready_condition(),
            self.drifted_condition(),
            self.paused_condition(),
            self.blocked_condition(),
        ]
    }

    fn synced_condition(&self) -> Condition {
        let status = self.synced();
        let reason = if status {
            "InSync"
        } else if self.is_deleted() {
            "Deleted"
        } else if self.drift.is_some() || self.lost.is_some() {
            "Drifted"
        } else if self.trouble.erred {
            "Erred"
        } else if self.replacing {
            "Replacing"
        } else {
            "Pending"
        };
        let error = self.error.as_ref().map(ToString::to_string);
        let message = match (self.is_between_halves(), error) {
            (false, error) => error.unwrap_or_default(),
            (true, None) => GONE.to_owned(),
            (true, Some(error)) => format!("{GONE}: {error}"),
        };
        Condition { kind: "synced", status, reason, message, since: self.synced_since }
    }

    fn ready_condition(&self) -> Condition {
        let status = self.ready();
        let there = self.observed.presence == Presence::Present;
        let unready = self.observed.unready.as_ref().filter(|_| there && !self.is_deleted());
        let reason = match (status, self.released, self.is_deleted()) {
            (true, ..) => "Present",
            (_, true, _) => "Released",
            (_, _, true) => "Deleted",
            _ if unready.is_some() => "NotReady",
            _ => "NotPresent",
        };
        let omitted = self.observed.attributes.as_ref().and_then(document::omitted);
        let omitted = omitted.map(|pointer| {
            format!("the backend's answer is too large, a part was left out (at {pointer})")
        });
        let message = unready.cloned().or(omitted).unwrap_or_default();
        Condition { kind: "ready", status, reason, message, since: self.ready_since }
    }

    fn drifted_condition(&self) -> Condition {
        let (status, reason, message, since) = match (&self.lost, &self.drift) {
            (Some(lost), _) => (true, "Lost", "the object is gone".to_owned(), lost.since),
            (None, Some(drift)) => {
                let name = |difference: &Difference| {
                    let left = if difference.addition { " (added by others, left)" } else { "" };
                    format!("{}{left}", difference.field)
                };
                let fields: Vec<_> = drift.diff.iter().map(name).collect();
                (true, "Differs", fields.join(", "), drift.since)
            }
            (None, None) => (false, "AsDesired", String::new(), self.synced_since),
        };
        Condition { kind: "drifted", status, reason, message, since }
    }

    fn paused_condition(&self) -> Condition {
        let reason = if self.paused.is_some() { "Paused" } else { "Running" };
        let since = self.paused.unwrap_or(self.created_at);
        Condition {
            kind: "paused",
            status: self.paused.is_some(),
            reason,
            message: String::new(),
            since,
        }
    }

    fn blocked_condition(&self) -> Condition {
        match &self.blocked {
            Some(blocked) => Condition {
                kind: "blocked",
                status: true,
                reason: blocked.on.reason(),
                message: blocked.message.clone(),
                since: blocked.since,
            },
            None => self.not_blocked(),
        }
    }

    /// A contested object does not block the entity that manages it, but its users have to know.
    fn not_blocked(&self) -> Condition {
        let shared = self.contested.as_ref().filter(|contested| contested.holds);
        let (reason, message, since) = match shared {
            Some(contested) => ("ObjectShared", SHARED.to_owned(), contested.since),
            None => ("NotBlocked", String::new(), self.created_at),
        };
        Condition { kind: "blocked", status: false, reason, message, since }
    }
}
