//! A backend's control stream: its identity, and whether it is parked, paused or throttled.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::control_event::stored_names_of_control_events;
use crate::time::Timestamp;

/// Why a backend is parked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParkCause {
    /// The backend has another identity than the recorded one.
    IdentityChanged {
        /// The recorded identity.
        expected: String,
        /// The identity that it reported.
        found: String,
    },
    /// Too many objects are gone at once.
    MassAbsence {
        /// Objects that were present and are absent now.
        absent: u64,
        /// Objects observed in the same time.
        observed: u64,
    },
}

/// One fact about a backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "fields are explained on the state that they change")]
pub enum BackendEvent {
    /// The identity that it first reported, or that a person confirmed.
    IdentityRecorded { at: Timestamp, identity: String },
    /// It was parked: nothing acts on it until a person confirms.
    Parked { at: Timestamp, cause: ParkCause },
    /// A person confirmed that its present state is right.
    Unparked { at: Timestamp },
    /// A person stopped changes.
    Paused {
        at: Timestamp,
        until: Option<Timestamp>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A person let changes go on.
    Resumed { at: Timestamp },
    /// It is configured; `digest` only tells configurations apart.
    Configured { at: Timestamp, driver: String, digest: String },
    /// It is configured no more.
    Removed { at: Timestamp },
    /// It accepts the credentials again, or the secrets changed: waiting work goes on.
    Reopened { at: Timestamp },
    /// The backend asked for a pause that is long enough to survive a restart.
    Throttled { at: Timestamp, scope: String, until: Timestamp },
    /// A request with an idempotency key was accepted and changed nothing here: its claim is in the envelope.
    RequestRecorded { at: Timestamp },
}

impl BackendEvent {
    /// Whether an event of this stored type wakes the work that waits for the backend or its configuration.
    #[must_use]
    pub fn wakes(event_type: &str) -> bool {
        let names = ["unparked", "resumed", "configured", "reopened"];
        event_type.strip_prefix("backend.").is_some_and(|name| names.contains(&name))
    }
}

stored_names_of_control_events! {
    BackendEvent in "backend":
    IdentityRecorded => "identity_recorded";
    Parked => "parked";
    Unparked => "unparked";
    Paused => "paused";
    Resumed => "resumed";
    Configured => "configured";
    Removed => "removed";
    Reopened => "reopened";
    Throttled => "throttled";
    RequestRecorded => "request_recorded";
}

/// A pause by a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Its end; `None` = until a person resumes.
    pub until: Option<Timestamp>,
    /// Why; `None` = that was not said.
    pub reason: Option<String>,
}

impl Pause {
    /// Whether it is in force at `now`.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| until > now)
    }
}

/// The folded state of a backend's stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Backend {
    /// Number of folded events.
    pub version: crate::id::Version,
    /// Time of the newest event.
    pub updated_at: Timestamp,
    /// Driver of its newest configuration; empty = it never had one.
    pub driver: String,
    /// Digest of its configuration; `None` = it is not configured.
    pub configured: Option<String>,
    /// Recorded identity; `None` = it never reported one.
    pub identity: Option<String>,
    /// Why it is parked; `None` = it is not.
    pub parked: Option<ParkCause>,
    /// Paused by a person; `None` = it is not.
    pub paused: Option<Pause>,
    /// Version of the last event by which a person confirmed its present state, absences included; 0 = none.
    pub confirmed: crate::id::Version,
    /// Throttled scopes, each until when; the empty scope is the whole backend.
    pub throttled: BTreeMap<String, Timestamp>,
}

impl Backend {
    /// Folds `event` into the state.
    pub fn evolve(&mut self, event: &BackendEvent) {
        self.version = self.version.next();
        self.updated_at = event.at();
        match event {
            BackendEvent::IdentityRecorded { identity, .. } => {
                self.identity = Some(identity.clone());
            }
            BackendEvent::Parked { cause, .. } => self.parked = Some(cause.clone()),
            BackendEvent::Unparked { .. } => {
                self.parked = None;
                self.confirmed = self.version;
            }
            BackendEvent::Paused { until, reason, .. } => {
                self.paused = Some(Pause { until: *until, reason: reason.clone() });
            }
            BackendEvent::Resumed { .. } => self.paused = None,
            BackendEvent::Configured { driver, digest, .. } => {
                self.driver.clone_from(driver);
                self.configured = Some(digest.clone());
            }
            BackendEvent::Removed { .. } => self.configured = None,
            BackendEvent::Reopened { .. } | BackendEvent::RequestRecorded { .. } => {}
            BackendEvent::Throttled { at, scope, until } => {
                // Expired scopes are dropped, so the map stays small.
                self.throttled.retain(|_, end| *end > *at);
                self.throttled.insert(scope.clone(), *until);
            }
        }
    }
}
