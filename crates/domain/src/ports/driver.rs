//! The driver port: observes and changes the objects of its kinds in one backend.
//!
//! A driver keeps no state that matters, never sleeps, never retries and never decides policy. Every argument and
//! result is a serialisable value, so that a driver can run in another process. Long work returns
//! [`Outcome::Pending`] and is polled with [`Driver::resume`], also after a restart.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::Failure;
use crate::field_error::FieldError;
use crate::id::{ActionName, Attempt, ExternalId, KindName, OwnerKey};
use crate::kind::KindSpec;
use crate::time::Timestamp;

/// The engine's side of a call: its deadline, and where to record an external id.
#[async_trait]
pub trait CallControl: Send + Sync {
    /// Whether a changing request may still be sent. A driver asks right before each one; false from a margin before
    /// the lease ends.
    fn may_send(&self) -> bool;

    /// Time left for the call; it ends before the lease. It may grow while the call runs, because the lease is
    /// renewed: a driver that waits asks again instead of keeping the first answer.
    fn remaining(&self) -> Duration;

    /// Resolves when the call is to be aborted.
    async fn cancelled(&self);

    /// Commits the external id to the log. A driver calls it as soon as it learns the id of an unfinished object, and
    /// continues only after `Ok`. Idempotent for the same id.
    ///
    /// # Errors
    /// A failure for the driver to return: the attempt was taken over.
    async fn record_id(&self, id: &ExternalId) -> Result<(), Failure>;

    /// Attributes of the call's object when it was last observed, by whichever process; `None` = not known, or the call
    /// is for no entity. A hint for reading calls: it may be old, and is no observation.
    fn last_observed(&self) -> Option<&Value> {
        None
    }
}

/// Context of one call.
#[derive(Clone)]
pub struct CallContext {
    /// Number of the attempt; for logs and request ids.
    pub attempt: Attempt,
    /// The engine's side.
    pub control: Arc<dyn CallControl>,
}

/// The object of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObjectRef {
    /// Kind of the entity.
    pub kind: KindName,
    /// Its id in the backend.
    pub external_id: ExternalId,
    /// The owner key that it carries if this entity created it; of incarnation 0 = it was adopted, and carries none of
    /// this entity.
    pub owner_key: OwnerKey,
}

/// Result of an observation of the backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observation {
    /// It exists, in this state.
    Present(Object),
    /// It certainly does not exist: the backend itself said so of this very id, or a complete list lacks it.
    Absent {
        /// How that was proved, for the log; never empty.
        proof: String,
    },
    /// Nothing was proved (403, time-out, a doubtful empty list).
    Unknown {
        /// Why not.
        reason: String,
    },
}

/// An object of the backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Object {
    /// Its id in the backend.
    pub external_id: ExternalId,
    /// Normalised like the desired state, so that the two can be compared.
    pub attributes: Value,
    /// The owner key that it carries; `None` when it has none, or the kind has no place for one.
    pub owner_key: Option<OwnerKey>,
}

/// Arguments of a search for an object that this entity created.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// Kind of the entity.
    pub kind: KindName,
    /// The owner key to search for.
    pub owner_key: OwnerKey,
    /// The desired state; it holds the identity of kinds that name one.
    pub spec: Value,
    /// When the creation was intended, by log time; `None` = never. Not a lower bound for a filter: the log's clock
    /// may be ahead of the backend's.
    pub since: Option<Timestamp>,
}

/// One page of `list`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Listing {
    /// Objects of the kind, managed or not.
    pub objects: Vec<Object>,
    /// Where the next page begins; `None` = the last page.
    pub cursor: Option<String>,
    /// Whether attributes are missing that take further requests per object: an observation shows them.
    #[serde(default)]
    pub partial: bool,
}

/// The change that would bring the object to the desired state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plan {
    /// Nothing: it is as desired.
    Noop,
    /// These fields (JSON pointers) differ and can be changed in place.
    Update {
        /// What differs.
        fields: Vec<String>,
    },
    /// These fields differ and cannot be changed in place: delete and create.
    Replace {
        /// What differs.
        fields: Vec<String>,
    },
}

/// Arguments of a creation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Create {
    /// Kind of the entity.
    pub kind: KindName,
    /// Written into the object, and used as the backend's idempotency token where it has one.
    pub owner_key: OwnerKey,
    /// Normalised desired state.
    pub spec: Value,
}

/// Arguments of a change in place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Update {
    /// The object.
    pub target: ObjectRef,
    /// Normalised desired state.
    pub spec: Value,
    /// Fields that differ (JSON pointers), as planned.
    pub fields: Vec<String>,
    /// The attributes that the plan was made from.
    pub observed: Value,
}

/// Arguments of an action of the kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Act {
    /// The object.
    pub target: ObjectRef,
    /// The action.
    pub action: ActionName,
    /// Its input, checked against the kind's schema.
    pub input: Value,
    /// Normalised desired state.
    pub spec: Value,
}

/// Result of a changing call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The backend completed it.
    Done {
        /// The object; `None` when the call deleted it.
        external_id: Option<ExternalId>,
        /// Attributes in the backend's reply; `Null` when it has none. The engine observes anyway.
        attributes: Value,
    },
    /// The backend is still working on it.
    Pending {
        /// What `resume` needs.
        handle: Value,
        /// When to poll, in milliseconds from now.
        poll_after_ms: u64,
    },
}

/// A connection to one backend. Calls run concurrently. The engine runs at most one attempt per entity, but a call of
/// an abandoned attempt may still be running, on this node or another: the owner key tells its objects apart.
#[async_trait]
pub trait Driver: Send + Sync {
    /// The kinds that it implements.
    fn kinds(&self) -> &[KindSpec];

    /// Checks what the schema cannot, normalises, fills in defaults. Pure: makes no call.
    ///
    /// # Errors
    /// Every fault of the desired state.
    fn check(&self, kind: &KindName, spec: &Value) -> Result<Value, Vec<FieldError>>;

    /// Compares normalised values; fields that are not in `spec` are unmanaged. Pure: makes no call.
    fn plan(&self, kind: &KindName, observed: &Value, spec: &Value) -> Plan;

    /// Why an object in this state cannot be used, as a short text without a full stop; `None` = it can. A fact of its
    /// own: a stopped server may be as desired. Pure: makes no call.
    fn unready(&self, _kind: &KindName, _observed: &Value) -> Option<String> {
        None
    }

    /// `spec` together with what others plugged into the object: NICs, volumes, addresses that neither `spec` nor
    /// `applied`, the desired state that was applied before, names. Such additions are reported as drift, and left. `None`
    /// = there are none. Pure: makes no call.
    fn with_additions(
        &self,
        _kind: &KindName,
        _observed: &Value,
        _spec: &Value,
        _applied: Option<&Value>,
    ) -> Option<Value> {
        None
    }

    /// Identifies the environment behind the backend (cloud and project id, marker of a directory). An answer other
    /// than the recorded one parks the backend. Read-only.
    ///
    /// # Errors
    /// The identity could not be read.
    async fn identity(&self, context: &CallContext) -> Result<String, Failure>;

    /// Checks that the backend answers and accepts the credentials. Read-only.
    ///
    /// # Errors
    /// Why it is not usable; the class decides what the engine does.
    async fn health(&self, context: &CallContext) -> Result<(), Failure>;

    /// Checks for a person what a health check leaves out, because only some objects need it: each service that the
    /// kinds use. Read-only.
    ///
    /// # Errors
    /// What is missing, by name.
    async fn verify(&self, _context: &CallContext) -> Result<(), Failure> {
        Ok(())
    }

    /// Observes one object. Read-only. A deleted object is a result, [`Observation::Absent`], never a failure: only
    /// that result makes the engine end a deletion, or call an object lost.
    ///
    /// # Errors
    /// Nothing was proved. `NotFound` too says only that something on the way answered "not found".
    async fn observe(
        &self,
        context: &CallContext,
        target: &ObjectRef,
    ) -> Result<Observation, Failure>;

    /// What keeps the object from being deleted, as far as reading shows it: the failure that [`delete`](Self::delete)
    /// would end with. Read-only, so the engine asks it before it tries a deletion again that was refused. `None` =
    /// nothing is known to keep it.
    ///
    /// # Errors
    /// Nothing was learned.
    async fn obstacle(
        &self,
        _context: &CallContext,
        _target: &ObjectRef,
    ) -> Result<Option<Failure>, Failure> {
        Ok(None)
    }

    /// Finds objects that carry the owner key, or have the identity of a kind that names one. Read-only. Empty = none
    /// was found, which proves absence only after the kind's settle time.
    ///
    /// # Errors
    /// The search proved nothing.
    async fn find(&self, context: &CallContext, search: &Search) -> Result<Vec<Object>, Failure>;

    /// Lists all objects of a kind, page by page; `cursor` is that of the previous page, `None` = the first page.
    /// Read-only.
    ///
    /// # Errors
    /// The page could not be read.
    async fn list(
        &self,
        context: &CallContext,
        kind: &KindName,
        cursor: Option<&str>,
    ) -> Result<Listing, Failure>;

    /// Creates the object. Not idempotent unless the backend honours the owner key: after an ambiguous failure the
    /// engine searches before it creates again.
    ///
    /// # Errors
    /// [`Failure::effect`] says whether something may have been created.
    async fn create(&self, context: &CallContext, create: &Create) -> Result<Outcome, Failure>;

    /// Changes the object in place. Idempotent: the engine repeats it, with a new plan, after an ambiguous failure.
    ///
    /// # Errors
    /// [`Failure::effect`] says whether something may have been changed.
    async fn update(&self, context: &CallContext, update: &Update) -> Result<Outcome, Failure>;

    /// Deletes the object. Idempotent: an object that does not exist is a success. The engine observes afterwards in
    /// any case.
    ///
    /// # Errors
    /// [`Failure::effect`] says whether it may have been deleted.
    async fn delete(&self, context: &CallContext, target: &ObjectRef) -> Result<Outcome, Failure>;

    /// Runs an action of the kind. Idempotent only if its [`ActionSpec`](crate::kind::ActionSpec) says so.
    ///
    /// # Errors
    /// [`Failure::effect`] says whether it may have run.
    async fn action(&self, context: &CallContext, act: &Act) -> Result<Outcome, Failure>;

    /// Polls pending work by the handle of [`Outcome::Pending`]. Idempotent; may be called by another process than
    /// the one that started the work.
    ///
    /// # Errors
    /// The work failed, or its state could not be read.
    async fn resume(&self, context: &CallContext, handle: &Value) -> Result<Outcome, Failure>;

    /// Asks the backend to abort pending work. Idempotent. The engine observes afterwards.
    ///
    /// # Errors
    /// The backend did not accept the request; the work may go on.
    async fn cancel(&self, context: &CallContext, handle: &Value) -> Result<(), Failure>;
}
