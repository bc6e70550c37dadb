//! Requests about entities: create, change, delete, act. A request is checked against the kind, then decided and
//! appended.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};
use stateward_domain::document::Limits;
use stateward_domain::entity::command::Intent;
use stateward_domain::entity::state::{Decision, DeletionPolicy, Difference, Manifest};
use stateward_domain::entity::{Entity, EntityEvent};
use stateward_domain::envelope::Envelope;
use stateward_domain::field_error::FieldError;
use stateward_domain::id::{EntityId, OperationId, Revision};
use stateward_domain::json_pointer;

use super::{Accepted, Declaration, Engine, EntityChange, Preview, Verb};
use crate::admission::proposed_state::{self, Admission, Proposed};
use crate::admission::{immutable, names};
use crate::backends::Backend;
use crate::error::{AdmissionError, CommandError, QueryError};

impl Engine {
    /// The fold of all events of the entity.
    ///
    /// # Errors
    /// [`QueryError::NotFound`] when it was never declared, [`QueryError::Store`], [`QueryError::Unreadable`].
    pub async fn entity(&self, id: EntityId) -> Result<Arc<Entity>, QueryError> {
        let entity = self.inner.shared.entities.fresh(id).await?;
        if entity.exists() { Ok(entity) } else { Err(QueryError::NotFound) }
    }

    /// Declares an entity.
    ///
    /// # Errors
    /// Unknown or unsuitable names, [`AdmissionError::Invalid`] with every fault, a taken name or identity, a reused
    /// key,
    /// [`QueryError::Store`].
    pub async fn create(
        &self,
        envelope: Envelope,
        declaration: Declaration,
    ) -> Result<Accepted, CommandError> {
        let kind = self.kinds().get(&declaration.kind);
        refuse_faults(declaration.faults(kind.as_ref().ok().copied()))?;
        let kind = kind?;
        let backend = self.backend_for(&declaration)?;
        let proposed = declaration.proposed(&backend);
        let desired = self.admission().admit(&proposed).await?;
        let operation_id = self.clock().operation_id();
        let entity_id = self.clock().entity_id();
        let intent = Intent::Create {
            operation_id,
            entity_id,
            schema_version: kind.schema_version,
            identity: kind.identity_of(&desired),
            manifest: Box::new(Manifest {
                namespace: declaration.namespace.clone(),
                kind: declaration.kind,
                name: declaration.name,
                backend: backend.name().clone(),
                desired,
                settings: declaration.settings,
                external_id: declaration.external_id,
            }),
        };
        let envelope = Envelope { namespace: declaration.namespace, ..envelope };
        self.execute(entity_id, envelope, Some(operation_id), &intent).await
    }

    /// The backend and the desired state that [`create`](Self::create) would use: normalised, with defaults.
    ///
    /// # Errors
    /// As for `create`, except for taken names and identities.
    pub async fn preview(
        &self,
        declaration: &Declaration,
    ) -> Result<(Arc<Backend>, Value), AdmissionError> {
        let kind = self.kinds().get(&declaration.kind);
        refuse_faults(declaration.faults(kind.as_ref().ok().copied()))?;
        kind?;
        let backend = self.backend_for(declaration)?;
        let desired = self.admission().admit(&declaration.proposed(&backend)).await?;
        Ok((backend, desired))
    }

    /// What [`update`](Self::update) would do.
    ///
    /// # Errors
    /// As for `update`.
    pub async fn preview_update(
        &self,
        id: EntityId,
        change: &EntityChange,
    ) -> Result<Preview, CommandError> {
        let entity = self.entity(id).await?;
        let (intent, replaces) = self.update_intent(&entity, change.clone()).await?;
        let events = entity.decide(self.clock().now(), &intent)?;
        let anew = |event: &EntityEvent| matches!(event, EntityEvent::UpdateRequested { .. });
        let Intent::Update { desired: Some(desired), .. } = &intent else {
            return Ok(Preview { entity, differences: Vec::new(), replaces, wants: false });
        };
        let differences = differences(&entity.manifest.desired, desired);
        Ok(Preview { entity, differences, replaces, wants: events.iter().any(anew) })
    }

    /// Changes desired state, settings or both.
    ///
    /// # Errors
    /// [`QueryError::NotFound`], [`AdmissionError::Invalid`], [`AdmissionError::Immutable`], refusals,
    /// [`QueryError::Store`].
    pub async fn update(
        &self,
        envelope: Envelope,
        id: EntityId,
        change: EntityChange,
    ) -> Result<Accepted, CommandError> {
        let entity = self.existing(id).await?;
        let (intent, _) = self.update_intent(&entity, change).await?;
        let opens = match &intent {
            Intent::Update { operation_id, desired: Some(_), .. } => Some(*operation_id),
            _ => None,
        };
        self.execute(id, in_namespace_of(envelope, &entity), opens, &intent).await
    }

    /// The checked intent of a change, and the fields for which the object would be replaced.
    async fn update_intent(
        &self,
        entity: &Entity,
        change: EntityChange,
    ) -> Result<(Intent, Vec<String>), AdmissionError> {
        let kind = self.kinds().get(&entity.manifest.kind)?;
        refuse_faults(names::patch_faults(&change.settings, &entity.manifest.settings, kind))?;
        let (desired, replaces) = match &change.desired {
            None => {
                if let Some(depends_on) = &change.settings.depends_on {
                    self.admission().check_dependencies(&entity.manifest, depends_on).await?;
                }
                (None, Vec::new())
            }
            Some(desired) => {
                let backend = self.backend(&entity.manifest.backend)?;
                let proposed =
                    Proposed::changed(&entity.manifest, &backend, desired, &change.settings);
                let desired = self.admission().admit(&proposed).await?;
                let replaces = immutable::changed_immutable_fields(
                    kind,
                    entity,
                    &desired,
                    &change.settings,
                    change.replace,
                )?;
                (Some(desired), replaces)
            }
        };
        let intent = Intent::Update {
            operation_id: self.clock().operation_id(),
            if_revision: change.if_revision,
            schema_version: kind.schema_version,
            desired,
            settings: change.settings,
            replace: change.replace,
        };
        Ok((intent, replaces))
    }

    /// Requests the deletion of an entity; `policy` `None` = the one of its settings.
    ///
    /// # Errors
    /// [`QueryError::NotFound`], refusals, [`QueryError::Store`].
    pub async fn delete(
        &self,
        envelope: Envelope,
        id: EntityId,
        if_revision: Option<Vec<Revision>>,
        policy: Option<DeletionPolicy>,
    ) -> Result<Accepted, CommandError> {
        let entity = self.existing(id).await?;
        let operation_id = self.clock().operation_id();
        let may_exist = self.inner.shared.may_lack_intent(&entity);
        let intent = Intent::Delete { operation_id, if_revision, policy, may_exist };
        self.execute(id, in_namespace_of(envelope, &entity), Some(operation_id), &intent).await
    }

    /// Carries out a verb.
    ///
    /// # Errors
    /// [`QueryError::NotFound`], [`AdmissionError::UnknownAction`], [`AdmissionError::Invalid`] input, refusals,
    /// [`QueryError::Store`].
    pub async fn act(
        &self,
        envelope: Envelope,
        id: EntityId,
        verb: Verb,
    ) -> Result<Accepted, CommandError> {
        let entity = self.existing(id).await?;
        if let Verb::Adopt(id) | Verb::Decide(Decision::Adopt(id)) = &verb
            && !names::is_external_id(id.as_str())
        {
            let message = "is empty, too long, or has control characters".to_owned();
            let pointer = "/external_id".to_owned();
            return Err(AdmissionError::BadDocument(vec![FieldError { pointer, message }]).into());
        }
        let operation_id = self.clock().operation_id();
        let mut opens = Some(operation_id);
        let intent = match verb {
            Verb::Refresh => Intent::Refresh { operation_id },
            Verb::Retry => Intent::Retry { operation_id },
            Verb::Adopt(external_id) => Intent::Adopt { operation_id, external_id },
            Verb::Decide(decision) => Intent::Decide { operation_id, decision },
            Verb::Release => Intent::Delete {
                operation_id,
                if_revision: None,
                policy: Some(DeletionPolicy::Orphan),
                may_exist: false,
            },
            Verb::Pause | Verb::Resume | Verb::Cancel(_) => {
                opens = None;
                match verb {
                    Verb::Pause => Intent::Pause,
                    Verb::Cancel(operation_id) => Intent::Cancel { operation_id },
                    _ => Intent::Resume,
                }
            }
            Verb::KindAction(action, input) => {
                proposed_state::check_limits(&input, &Limits::INPUT)?;
                self.kinds().check_action(&entity.manifest.kind, &action, &input)?;
                Intent::Act { operation_id, action, input }
            }
        };
        self.execute(id, in_namespace_of(envelope, &entity), opens, &intent).await
    }

    fn admission(&self) -> Admission<'_> {
        let shared = &self.inner.shared;
        Admission { kinds: &shared.kinds, secrets: &shared.secrets, entities: &shared.entities }
    }

    async fn execute(
        &self,
        id: EntityId,
        envelope: Envelope,
        operation: Option<OperationId>,
        intent: &Intent,
    ) -> Result<Accepted, CommandError> {
        let envelope = Envelope { operation, ..envelope };
        Ok(self.inner.shared.commands.execute(id, &envelope, intent).await?.into())
    }

    async fn existing(&self, id: EntityId) -> Result<Arc<Entity>, QueryError> {
        let entity = self.inner.shared.entities.recent(id).await?;
        if entity.exists() { Ok(entity) } else { Err(QueryError::NotFound) }
    }

    fn backend_for(&self, declaration: &Declaration) -> Result<Arc<Backend>, AdmissionError> {
        let (namespace, kind) = (&declaration.namespace, &declaration.kind);
        if let Some(name) = &declaration.backend {
            let backend = self.backend(name)?;
            return if backend.serves(namespace, kind) {
                Ok(backend)
            } else {
                Err(AdmissionError::UnknownBackend(name.clone()))
            };
        }
        let candidates = self.inner.backends.candidates(namespace, kind);
        match &candidates[..] {
            [one] => Ok(Arc::clone(one)),
            _ => Err(AdmissionError::AmbiguousBackend(
                candidates.iter().map(|backend| backend.name().clone()).collect(),
            )),
        }
    }
}

fn refuse_faults(faults: Vec<FieldError>) -> Result<(), AdmissionError> {
    if faults.is_empty() { Ok(()) } else { Err(AdmissionError::BadDocument(faults)) }
}

fn in_namespace_of(envelope: Envelope, entity: &Entity) -> Envelope {
    Envelope { namespace: entity.manifest.namespace.clone(), ..envelope }
}

/// Differing members of the first level; deeper differences are computed by the driver's plan.
fn differences(before: &Value, after: &Value) -> Vec<Difference> {
    let (Some(old), Some(new)) = (before.as_object(), after.as_object()) else {
        return Vec::new();
    };
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let value = |of: &Map<String, Value>, name: &str| of.get(name).cloned().unwrap_or(Value::Null);
    names
        .into_iter()
        .map(|name| Difference {
            field: format!("/{}", json_pointer::escape(name)),
            desired: value(new, name),
            observed: value(old, name),
            addition: false,
        })
        .filter(|difference| difference.desired != difference.observed)
        .collect()
}
