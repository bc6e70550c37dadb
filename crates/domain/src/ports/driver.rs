//! What a driver does: observe and change the things of its kinds in one backend.
//!
//! A driver keeps no state that matters, never sleeps, never retries and never decides policy. Every argument
//! and result is a serialisable value, so that a driver can live in another process. Long work returns
//! [`Outcome::Pending`] and is asked for again with [`Driver::resume`], also after a restart.

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

/// The engine's side of a call: how long it may take, and where to put an external id.
#[async_trait]
pub trait CallControl: Send + Sync {
    /// Whether a request that changes something may still be sent. A driver asks right before each one: the
    /// answer is no from a margin before the lease ends.
    fn may_send(&self) -> bool;

    /// Time left for the call; ends before the lease. It may grow while the call runs, because the lease is renewed: a
    /// driver that waits asks again instead of keeping what it was told at first.
    fn remaining(&self) -> Duration;

    /// Resolves when the call is to be given up.
    async fn cancelled(&self);

    /// Commits the external id to the log. A driver calls it as soon as it learns the id of something that
    /// is not finished yet, and goes on only after `Ok`.
    ///
    /// # Errors
    /// A failure to pass on: the attempt was taken over.
    async fn record_id(&self, id: &ExternalId) -> Result<(), Failure>;
}

/// What surrounds one call.
#[derive(Clone)]
pub struct CallContext {
    /// Number of the attempt; for logs and request ids.
    pub attempt: Attempt,
    /// The engine's side.
    pub control: Arc<dyn CallControl>,
}

/// The object that a call is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObjectRef {
    /// Kind of the entity.
    pub kind: KindName,
    /// The object.
    pub external_id: ExternalId,
    /// The mark that it carries if it is ours.
    pub owner_key: OwnerKey,
}

/// What a look at the backend showed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observation {
    /// It is there, like this.
    Present(Object),
    /// It is certainly not there: the backend itself said so of this very id, or a complete list lacks it.
    Absent {
        /// How that is known, for the log; never empty.
        proof: String,
    },
    /// The look proved nothing (403, time-out, a doubtful empty list).
    Unknown {
        /// Why.
        reason: String,
    },
}

/// An object of the backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Object {
    /// The backend's name of it.
    pub external_id: ExternalId,
    /// Normalised like the desired state, so that the two can be compared.
    pub attributes: Value,
    /// The mark it carries; `None` when it has none or the kind has no place for one.
    pub owner_key: Option<OwnerKey>,
}

/// What a look for an object of ours needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// Kind of the entity.
    pub kind: KindName,
    /// The mark to look for.
    pub owner_key: OwnerKey,
    /// The desired state: it holds the identity of kinds that name one.
    pub spec: Value,
    /// When the creation was intended, by log time; `None` = never. No bound to filter by: the log's clock may be ahead of the
    /// backend's.
    pub since: Option<Timestamp>,
}

/// One page of `list`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Listing {
    /// Objects of the kind, managed or not.
    pub objects: Vec<Object>,
    /// Where to go on; `None` = the end.
    pub cursor: Option<String>,
}

/// What would make the object as desired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plan {
    /// It is as desired.
    Noop,
    /// These fields (JSON pointers) can be changed in place.
    Update {
        /// What differs.
        fields: Vec<String>,
    },
    /// These fields cannot: delete and create.
    Replace {
        /// What differs.
        fields: Vec<String>,
    },
}

/// Make an object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Create {
    /// Kind of the entity.
    pub kind: KindName,
    /// To be written into the object, and used as the backend's idempotency token where it has one.
    pub owner_key: OwnerKey,
    /// Normalised desired state.
    pub spec: Value,
}

/// Change an object in place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Update {
    /// Which.
    pub target: ObjectRef,
    /// Normalised desired state.
    pub spec: Value,
    /// What differs (JSON pointers), as planned.
    pub fields: Vec<String>,
    /// The attributes that the plan was made on.
    pub observed: Value,
}

/// Do one of the kind's own verbs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Act {
    /// On which object.
    pub target: ObjectRef,
    /// The verb.
    pub action: ActionName,
    /// Its input, checked against the kind's schema.
    pub input: Value,
    /// Normalised desired state.
    pub spec: Value,
}

/// How a change ended, or that it goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is done.
    Done {
        /// The object; `None` when the call deleted it.
        external_id: Option<ExternalId>,
        /// What the backend said of it; `Null` when nothing. The engine observes anyway.
        attributes: Value,
    },
    /// The backend works on it.
    Pending {
        /// What `resume` needs.
        handle: Value,
        /// When to ask again, in milliseconds.
        poll_after_ms: u64,
    },
}

/// A connection to one backend.
#[async_trait]
pub trait Driver: Send + Sync {
    /// The kinds that it serves.
    fn kinds(&self) -> &[KindSpec];

    /// Checks what a schema cannot, normalises, fills in defaults. Makes no call.
    ///
    /// # Errors
    /// Every fault that was found.
    fn check(&self, kind: &KindName, spec: &Value) -> Result<Value, Vec<FieldError>>;

    /// Compares normalised values; fields that `spec` does not name are unmanaged. Makes no call.
    fn plan(&self, kind: &KindName, observed: &Value, spec: &Value) -> Plan;

    /// Which world this is (cloud and project id, marker of a directory). Another answer than the recorded one
    /// parks the backend.
    async fn identity(&self, context: &CallContext) -> Result<String, Failure>;

    /// Whether the backend answers and accepts the credentials; changes nothing.
    async fn health(&self, context: &CallContext) -> Result<(), Failure>;

    /// Looks at one object. That it is gone is an answer, [`Observation::Absent`], and never a failure: the engine ends a
    /// deletion, and calls an object lost, on such an answer alone.
    ///
    /// # Errors
    /// The look proved nothing. `NotFound` too says only that something on the way answered "not found".
    async fn observe(
        &self,
        context: &CallContext,
        target: &ObjectRef,
    ) -> Result<Observation, Failure>;

    /// Looks for objects that carry the owner key, or have the identity of a kind that names one.
    async fn find(&self, context: &CallContext, search: &Search) -> Result<Vec<Object>, Failure>;

    /// All objects of a kind, page by page.
    async fn list(
        &self,
        context: &CallContext,
        kind: &KindName,
        cursor: Option<&str>,
    ) -> Result<Listing, Failure>;

    /// Makes the object.
    async fn create(&self, context: &CallContext, create: &Create) -> Result<Outcome, Failure>;

    /// Changes the object.
    async fn update(&self, context: &CallContext, update: &Update) -> Result<Outcome, Failure>;

    /// Deletes the object; one that is not there is a success. The engine observes afterwards, whatever the answer is.
    async fn delete(&self, context: &CallContext, target: &ObjectRef) -> Result<Outcome, Failure>;

    /// Does one of the kind's verbs.
    async fn action(&self, context: &CallContext, act: &Act) -> Result<Outcome, Failure>;

    /// Asks how pending work stands.
    async fn resume(&self, context: &CallContext, handle: &Value) -> Result<Outcome, Failure>;

    /// Asks the backend to give up pending work; the engine observes afterwards.
    async fn cancel(&self, context: &CallContext, handle: &Value) -> Result<(), Failure>;
}
