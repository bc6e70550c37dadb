//! Resolving references for driver calls, and waiting for references that have no value yet.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use stateward_domain::document::{self, Limits};
use stateward_domain::entity::Entity;
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::entity::references::{self, Purpose, Waiting};
use stateward_domain::entity::state::Observed;
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::Attempt;
use stateward_domain::ports::driver::Object;

use crate::admission::placeholders::Placeholders;
use crate::error::Error;
use crate::process_manager::round::{Round, StepResult};

/// Faults that one failure lists, at most: the failure goes into an event.
const FAULTS_NAMED_MAX: usize = 5;
/// Maximum bytes of all reference values of a desired state: they go into events too.
const VALUES_BYTES_MAX: usize = 64 * 1024;

/// A desired state for schema and driver.
pub(crate) struct Resolved<'v> {
    /// With references replaced by their values, normalised.
    pub(crate) desired: Cow<'v, Value>,
    /// The values, by pointer.
    pub(crate) references: BTreeMap<String, Value>,
}

/// Why the references of a desired state could not be resolved.
pub(crate) struct UnresolvedReference {
    /// Names the target that has no value, or the fault of a value.
    failure: Failure,
    /// Whether this is recorded even if no change was requested.
    is_loss: bool,
}

impl From<UnresolvedReference> for Failure {
    fn from(unresolved: UnresolvedReference) -> Self {
        unresolved.failure
    }
}

impl Round<'_> {
    /// The desired state with the present values of its references. While a target is being changed or deleted, a
    /// dependent that was already built keeps the reference values it was built with.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) async fn resolve<'v>(
        &self,
        entity: &'v Entity,
    ) -> Result<Result<Resolved<'v>, UnresolvedReference>, Error> {
        let desired = &entity.manifest.desired;
        let waiting = match self.reference_values(entity, desired, Purpose::Use).await? {
            Ok(references) => return self.substitute(entity, desired, references),
            Err(waiting) => waiting,
        };
        if !waiting.why.is_loss()
            && entity.observed.generation == entity.generation
            && let Ok(known) = self.reference_values(entity, desired, Purpose::Recognise).await?
            && known == entity.observed.references
        {
            return self.substitute(entity, desired, known);
        }
        Ok(Err(not_ready(&waiting)))
    }

    /// `desired` with the reference values that identify an object built from it.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) async fn resolve_for_comparison<'v>(
        &self,
        entity: &Entity,
        desired: &'v Value,
    ) -> Result<Result<Resolved<'v>, UnresolvedReference>, Error> {
        match self.reference_values(entity, desired, Purpose::Recognise).await? {
            Ok(references) => self.substitute(entity, desired, references),
            Err(waiting) => Ok(Err(not_ready(&waiting))),
        }
    }

    async fn reference_values(
        &self,
        entity: &Entity,
        desired: &Value,
        purpose: Purpose,
    ) -> Result<Result<BTreeMap<String, Value>, Waiting>, Error> {
        self.shared.entities.reference_values(&entity.manifest.namespace, desired, purpose).await
    }

    fn substitute<'v>(
        &self,
        entity: &Entity,
        desired: &'v Value,
        references: BTreeMap<String, Value>,
    ) -> Result<Result<Resolved<'v>, UnresolvedReference>, Error> {
        if references.is_empty() {
            return Ok(Ok(Resolved { desired: Cow::Borrowed(desired), references }));
        }
        let bytes: usize = references.values().map(|value| value.to_string().len()).sum();
        if bytes > VALUES_BYTES_MAX {
            let message =
                format!("references stand for {bytes} bytes, at most {VALUES_BYTES_MAX} are taken");
            return Ok(Err(invalid(message)));
        }
        let resolved = references::resolve(desired, &references);
        if let Err(excess) = document::measure(&resolved, &Limits::DOCUMENT) {
            let message = format!("with the values of its references the desired state {excess}");
            return Ok(Err(invalid(message)));
        }
        let checked = Placeholders::of(&resolved, &[]).check(
            &self.shared.kinds,
            self.driver(),
            &entity.manifest.kind,
        );
        match checked {
            Ok(normal) => Ok(Ok(Resolved { desired: Cow::Owned(normal), references })),
            Err(Error::Invalid(faults)) => {
                let faults = faults.iter().take(FAULTS_NAMED_MAX);
                let faults = faults.map(|fault| format!("{} {}", fault.pointer, fault.message));
                let faults = faults.collect::<Vec<_>>().join("; ");
                Ok(Err(invalid(format!(
                    "not accepted with the values of its references: {faults}"
                ))))
            }
            Err(other) => Err(other),
        }
    }

    /// Blocks the entity on a reference without a usable value. It is recorded once; the entity is tried again when the
    /// target changes, and at intervals. If no change was requested, only the loss of a value is worth an event.
    pub(crate) async fn await_reference(
        &self,
        entity: &Arc<Entity>,
        takes_over: Option<Attempt>,
        unresolved: UnresolvedReference,
    ) -> Result<StepResult, Error> {
        let UnresolvedReference { failure, is_loss } = unresolved;
        if already_waits_for(entity, &failure) && takes_over.is_none() {
            return self.defer_change(entity, None).await;
        }
        if is_loss && entity.follows_references() {
            return self.fail(entity, None, takes_over, &failure, None).await;
        }
        self.observation_failed(entity, takes_over, failure).await
    }

    /// `object`, with the generation and reference values of the last observation: nothing new was compared.
    pub(crate) fn unchanged_observation(&self, entity: &Entity, object: &Object) -> Observed {
        let before = &entity.observed;
        self.observed(object, before.generation, before.references.clone())
    }

    /// The failure that keeps the entity from being deleted while a dependent uses it; `None` = no dependent does.
    ///
    /// Every dependent that began to use it before its deletion was requested is in the queue's tables once the
    /// executor is past that position. Every later one reads its newest fold, sees the deletion, and waits.
    ///
    /// # Errors
    /// When the log or the queue cannot be read.
    pub(crate) async fn in_use(&self, entity: &Entity) -> Result<Option<Failure>, Error> {
        let head = self.shared.log.head().await?;
        let name = [ClaimKey::name(entity)];
        let mut dependents = self.shared.queue.dependents(&name, 1).await?;
        if dependents.as_of < head {
            self.shared.wait_for_executor(head).await?;
            dependents = self.shared.queue.dependents(&name, 1).await?;
            if dependents.as_of < head {
                return Err(Error::Unavailable("the queue was reset".to_owned()));
            }
        }
        let Some(by) = dependents.entities.first().copied() else { return Ok(None) };
        let message = match self.shared.entities.fresh(by).await {
            Ok(dependent) => format!("is used by {}", dependent.manifest.target()),
            // An unreadable dependent still counts: it may use the entity.
            Err(Error::Unreadable(_)) => format!("is used by {by}, which cannot be read"),
            Err(error) => return Err(error),
        };
        Ok(Some(Failure::harmless(ErrorClass::InUse { by }, "in_use", message)))
    }
}

/// Whether the entity is already blocked with this failure.
pub(crate) fn already_waits_for(entity: &Entity, failure: &Failure) -> bool {
    entity.blocked.is_some() && entity.error.as_ref() == Some(failure)
}

fn not_ready(waiting: &Waiting) -> UnresolvedReference {
    let class = ErrorClass::ReferenceNotReady { on: Box::new(waiting.target.clone()) };
    let failure = Failure::harmless(class, "reference_not_ready", waiting.to_string());
    UnresolvedReference { failure, is_loss: waiting.why.is_loss() }
}

fn invalid(message: String) -> UnresolvedReference {
    let failure = Failure::harmless(ErrorClass::Invalid, "references_invalid", message);
    UnresolvedReference { failure, is_loss: true }
}
