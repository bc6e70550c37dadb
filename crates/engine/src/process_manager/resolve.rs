//! What a decision needs from other entities: the values of references, and whether dependents remain.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;
use stateward_domain::document::{self, Limits};
use stateward_domain::entity::Entity;
use stateward_domain::entity::references::{self, Purpose, Unready, Waiting};
use stateward_domain::entity::state::Manifest;
use stateward_domain::failure::{ErrorClass, Failure};

use crate::admission::placeholders::Placeholders;
use crate::backends::BackendSettings;
use crate::error::{AdmissionError, QueryError};
use crate::process_manager::Shared;
use crate::process_manager::dependency_cycles;
use crate::process_manager::implicit_dependencies::ImplicitDependencies;
use crate::process_manager::plan::{DesiredFault, Resolution, Resolved, UnresolvedReference};

/// Faults of a desired state that a failure names at most: it goes into an event.
const FAULTS_MAX: usize = 5;
/// Size of all values of a desired state's references together: they go into events too.
const VALUES_BYTES_MAX: usize = 64 * 1024;

/// Resolves for entities of one backend.
#[derive(Clone, Copy)]
pub(crate) struct Resolver<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) settings: &'a BackendSettings,
}

impl Resolver<'_> {
    /// The newest desired state with the values that its references have now. While a target is being changed or
    /// deleted, a dependent that was already built keeps the values that it was built with.
    ///
    /// # Errors
    /// When a target cannot be read.
    pub(crate) async fn for_use<'v>(
        &self,
        entity: &'v Entity,
    ) -> Result<Resolution<'v>, AdmissionError> {
        let desired = &entity.manifest.desired;
        let waiting = match self.values(entity, desired, Purpose::Use).await? {
            Ok(references) => return self.substitute(entity, desired, references).await,
            Err(waiting) => waiting,
        };
        if !waiting.why.is_loss()
            && entity.observed.generation == entity.generation
            && let Ok(known) = self.values(entity, desired, Purpose::Recognise).await?
            && known == entity.observed.references
        {
            return self.substitute(entity, desired, known).await;
        }
        Ok(not_ready(&waiting))
    }

    /// As [`for_use`](Self::for_use), for an object that is to be created: it also waits for the entities that it
    /// depends on without a value. A cycle of entities that wait for each other is named whole.
    ///
    /// # Errors
    /// When a target cannot be read.
    pub(crate) async fn for_creation<'v>(
        &self,
        entity: &'v Entity,
    ) -> Result<Resolution<'v>, AdmissionError> {
        match self.creation(entity).await? {
            Resolution::Waiting(mut reference) => {
                let entities = &self.shared.entities;
                dependency_cycles::name_cycle(entities, entity, &mut reference.failure).await?;
                Ok(Resolution::Waiting(reference))
            }
            ready => Ok(ready),
        }
    }

    async fn creation<'v>(&self, entity: &'v Entity) -> Result<Resolution<'v>, AdmissionError> {
        let Manifest { namespace, settings, .. } = &entity.manifest;
        for target in &settings.depends_on {
            let newest = self.shared.entities.readable_by_name(namespace, target).await?;
            if let Err(why) = references::usable(newest.as_deref()) {
                let (pointer, target, field) = (String::new(), target.clone(), None);
                return Ok(not_ready(&Waiting { pointer, target, field, why }));
            }
        }
        let kind = self.shared.kinds.get(&entity.manifest.kind)?;
        if let Some(target) = self.implicit().created_first(entity, kind).await? {
            let (pointer, field, why) = (String::new(), None, Unready::NotReady);
            return Ok(not_ready(&Waiting { pointer, target, field, why }));
        }
        self.for_use(entity).await
    }

    fn implicit(&self) -> ImplicitDependencies<'_> {
        let Shared { entities, queue, .. } = self.shared;
        ImplicitDependencies { entities, queue: &**queue }
    }

    /// `desired` with values that an object which was made from it can be compared by.
    ///
    /// # Errors
    /// When a target cannot be read.
    pub(crate) async fn for_comparison<'v>(
        &self,
        entity: &Entity,
        desired: &'v Value,
    ) -> Result<Resolution<'v>, AdmissionError> {
        match self.values(entity, desired, Purpose::Recognise).await? {
            Ok(references) => self.substitute(entity, desired, references).await,
            Err(waiting) => Ok(not_ready(&waiting)),
        }
    }

    async fn values(
        &self,
        entity: &Entity,
        desired: &Value,
        purpose: Purpose,
    ) -> Result<Result<BTreeMap<String, Value>, Waiting>, QueryError> {
        self.shared.entities.reference_values(&entity.manifest.namespace, desired, purpose).await
    }

    async fn substitute<'v>(
        &self,
        entity: &Entity,
        desired: &'v Value,
        references: BTreeMap<String, Value>,
    ) -> Result<Resolution<'v>, AdmissionError> {
        let attempted = self.attempted(entity).await?;
        if references.is_empty() {
            let desired = Cow::Borrowed(desired);
            return Ok(Resolution::Ready(Resolved { desired, references, attempted }));
        }
        let bytes: usize = references.values().map(|value| value.to_string().len()).sum();
        if bytes > VALUES_BYTES_MAX {
            let message =
                format!("references stand for {bytes} bytes, at most {VALUES_BYTES_MAX} are taken");
            return Ok(invalid(message));
        }
        let resolved = references::resolve(desired, &references);
        if let Err(excess) = document::measure(&resolved, &Limits::DOCUMENT) {
            let message = format!("with the values of its references the desired state {excess}");
            return Ok(invalid(message));
        }
        match self.checked(entity, &Placeholders::of(&resolved, &[])) {
            Ok(normal) => {
                let desired = Cow::Owned(normal);
                Ok(Resolution::Ready(Resolved { desired, references, attempted }))
            }
            Err(AdmissionError::Invalid(faults)) => {
                let faults = faults.iter().take(FAULTS_MAX);
                let faults = faults.map(|fault| format!("{} {}", fault.pointer, fault.message));
                let faults = faults.collect::<Vec<_>>().join("; ");
                Ok(invalid(format!("not accepted with the values of its references: {faults}")))
            }
            Err(other) => Err(other),
        }
    }

    /// The attempted desired states of `entity`; one with a reference that has no value stays as it is.
    async fn attempted(&self, entity: &Entity) -> Result<Vec<Value>, QueryError> {
        let mut attempted = Vec::with_capacity(entity.attempted.len());
        for desired in &entity.attempted {
            let values = self.values(entity, desired, Purpose::Recognise).await?;
            let values = values.unwrap_or_default();
            attempted.push(references::resolve(desired, &values));
        }
        Ok(attempted)
    }

    fn checked(
        &self,
        entity: &Entity,
        desired: &Placeholders<'_>,
    ) -> Result<Value, AdmissionError> {
        desired.check(&self.shared.kinds, &*self.settings.driver, &entity.manifest.kind)
    }

    /// Why the desired state must not be applied as it is stored; `None` = it may. Makes no call.
    pub(crate) fn desired_fault(
        &self,
        entity: &Entity,
        schema_version: u32,
    ) -> Option<DesiredFault> {
        let desired = &entity.manifest.desired;
        if entity.schema_version != schema_version {
            let found = references::declared(desired);
            if self.checked(entity, &Placeholders::of(desired, &found)).is_err() {
                return Some(DesiredFault::SchemaChanged);
            }
        }
        document::omitted(desired).map(|pointer| DesiredFault::TooDeep { pointer })
    }

    /// Which dependent keeps the entity from being deleted, or goes before it; `None` = there is none.
    ///
    /// A dependent that referred to it before its deletion was requested is in the queue's tables once the executor is
    /// past that moment. One that came later reads its newest fold, finds it being deleted, and waits.
    ///
    /// # Errors
    /// When the queue is behind the log or cannot be read.
    pub(crate) async fn in_use(&self, entity: &Entity) -> Result<Option<Failure>, QueryError> {
        let head = self.shared.log.head().await?;
        let Shared { entities, queue, .. } = self.shared;
        let mut keeper = dependency_cycles::keeper(entities, &**queue, entity).await?;
        if keeper.as_of < head {
            self.shared.wait_for_executor(head).await?;
            keeper = dependency_cycles::keeper(entities, &**queue, entity).await?;
            if keeper.as_of < head {
                return Err(QueryError::Unavailable("the queue was reset".to_owned()));
            }
        }
        let mut by = keeper.by;
        if by.is_none() {
            let kinds = self.settings.driver.kinds();
            by = self.implicit().deleted_first(entity, kinds).await?.map(|other| other.id);
        }
        let Some(by) = by else { return Ok(None) };
        let message = match self.shared.entities.fresh(by).await {
            Ok(user) => format!("is used by {}", user.manifest.target()),
            // A dependent of unknown state counts.
            Err(QueryError::Unreadable(_)) => format!("is used by {by}, which cannot be read"),
            Err(error) => return Err(error),
        };
        Ok(Some(Failure::harmless(ErrorClass::InUse { by }, "in_use", message)))
    }
}

fn not_ready<'v>(waiting: &Waiting) -> Resolution<'v> {
    let class = ErrorClass::ReferenceNotReady { on: Box::new(waiting.target.clone()) };
    let failure = Failure::harmless(class, "reference_not_ready", waiting.to_string());
    Resolution::Waiting(UnresolvedReference { failure, is_loss: waiting.why.is_loss() })
}

fn invalid<'v>(message: String) -> Resolution<'v> {
    let failure = Failure::harmless(ErrorClass::Invalid, "references_invalid", message);
    Resolution::Waiting(UnresolvedReference { failure, is_loss: true })
}
