//! References on their way to a driver, and what happens when one has no value yet.

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

/// Faults of a desired state that a failure names at most: it goes into an event.
const FAULTS_NAMED_MAX: usize = 5;
/// What all references of a desired state may stand for together: that goes into events too.
const VALUES_BYTES_MAX: usize = 64 * 1024;

/// A desired state as schema and driver take it.
pub(crate) struct Resolved<'v> {
    /// With the values of its references in their places, normalised.
    pub(crate) desired: Cow<'v, Value>,
    /// Those values, by pointer.
    pub(crate) references: BTreeMap<String, Value>,
}

/// Why there is none.
pub(crate) struct UnresolvedReference {
    /// Whom it waits for, or what is wrong with a value.
    failure: Failure,
    /// Whether that is to be told although nobody asked.
    is_loss: bool,
}

impl From<UnresolvedReference> for Failure {
    fn from(unresolved: UnresolvedReference) -> Self {
        unresolved.failure
    }
}

impl Round<'_> {
    /// The newest desired state with the values that its references have at this moment. While a target is worked on,
    /// or on its way out, whoever was made from it goes by the values that it was made from.
    ///
    /// # Errors
    /// When nobody could tell.
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

    /// `desired` as something that was made from it can be resolve_for_comparison by.
    ///
    /// # Errors
    /// When nobody could tell.
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

    /// A reference has no value that could be used. The entity says so once, and is looked at again when the one that
    /// it names shows itself, and every now and then. When nobody asked for anything, only a loss is worth an event.
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

    /// `object`, as matching what the entity's was found to match before: nothing new was compared.
    pub(crate) fn unchanged_observation(&self, entity: &Entity, object: &Object) -> Observed {
        let before = &entity.observed;
        self.observed(object, before.generation, before.references.clone())
    }

    /// Whoever uses the entity keeps it from being deleted; `None` = nobody does.
    ///
    /// Everyone who began to use it before its end was asked for is in the queue's tables once the executor is past
    /// that moment. Everyone who came later looks at its newest fold, sees that it is being deleted, and waits.
    ///
    /// # Errors
    /// When nobody could tell.
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
            // It holds on nevertheless: nobody knows what became of it.
            Err(Error::Unreadable(_)) => format!("is used by {by}, which cannot be read"),
            Err(error) => return Err(error),
        };
        Ok(Some(Failure::harmless(ErrorClass::InUse { by }, "in_use", message)))
    }
}

/// Whether the entity says already that it waits for what `failure` says.
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
