//! An entity in responses: its manifest and its state.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use stateward_domain::entity::Entity;
use stateward_domain::entity::references::{self, Reference};
use stateward_domain::entity::state::{
    DeletionPolicy, Difference, DriftPolicy, ManagementPolicy, Presence, ReplacePolicy, State,
};
use stateward_domain::failure::Failure;

use super::time;

#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct EntityView<'a> {
    id: String,
    kind: &'a str,
    name: &'a str,
    namespace: &'a str,
    backend: &'a str,
    labels: &'a BTreeMap<String, String>,
    desired: &'a Value,
    #[schema(value_type = crate::schema::enums::DeletionSchema)]
    deletion_policy: DeletionPolicy,
    #[schema(value_type = crate::schema::enums::DriftSchema)]
    drift_policy: DriftPolicy,
    #[schema(value_type = crate::schema::enums::ManagementSchema)]
    management_policy: ManagementPolicy,
    #[schema(value_type = crate::schema::enums::ReplaceSchema)]
    replace: ReplacePolicy,
    ignore_fields: &'a [String],
    protected: bool,
    /// Entities (`KIND/NAME`) that are created before this one and deleted after it
    depends_on: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<&'a str>,
    generation: u64,
    revision: u64,
    version: u64,
    #[schema(value_type = crate::schema::enums::StateSchema)]
    state: State,
    conditions: Vec<ConditionView>,
    error: Option<ErrorView<'a>>,
    observed: ObservedView<'a>,
    /// Whom the desired state refers to
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    references: Vec<ReferenceView>,
    /// Who refers to it, at most 1000 of them; only where one entity is asked for, as it is now
    #[serde(skip_serializing_if = "Option::is_none")]
    referenced_by: Option<Vec<DependentView>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(value_type = Vec<crate::schema::objects::DifferenceSchema>, required = false)]
    drift: &'a [Difference],
    created_at: String,
    updated_at: String,
}

/// A reference in the desired state.
#[derive(Serialize, utoipa::ToSchema)]
struct ReferenceView {
    /// Where it stands in `desired`
    pointer: String,
    kind: String,
    name: String,
    /// What of it is meant
    field: String,
}

/// An entity that refers to another.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = UserView)]
struct DependentView {
    id: String,
    kind: String,
    name: String,
}

#[derive(Serialize, utoipa::ToSchema)]
struct ConditionView {
    #[serde(rename = "type")]
    kind: &'static str,
    status: bool,
    reason: &'static str,
    message: String,
    since: String,
}

#[derive(Serialize, utoipa::ToSchema)]
struct ObservedView<'a> {
    #[schema(value_type = crate::schema::enums::PresenceSchema)]
    presence: Presence,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed_at: Option<String>,
}

/// A failure with its class as a word; details of the class stay inside.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct ErrorView<'a> {
    class: &'static str,
    code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[schema(value_type = crate::schema::enums::EffectSchema)]
    effect: stateward_domain::failure::Effect,
}

impl<'a> From<&'a Failure> for ErrorView<'a> {
    fn from(failure: &'a Failure) -> Self {
        Self {
            class: failure.class.name(),
            code: &failure.code,
            message: &failure.message,
            request_id: failure.request_id.as_deref(),
            effect: failure.effect,
        }
    }
}

impl<'a> From<&'a Entity> for EntityView<'a> {
    fn from(entity: &'a Entity) -> Self {
        let (manifest, settings) = (&entity.manifest, &entity.manifest.settings);
        Self {
            id: entity.id.to_string(),
            kind: manifest.kind.as_str(),
            name: manifest.name.as_str(),
            namespace: manifest.namespace.as_str(),
            backend: manifest.backend.as_str(),
            labels: &settings.labels,
            desired: &manifest.desired,
            deletion_policy: settings.deletion_policy,
            drift_policy: settings.drift_policy,
            management_policy: settings.management_policy,
            replace: settings.replace,
            ignore_fields: &settings.ignore_fields,
            protected: settings.protected,
            depends_on: settings.depends_on.iter().map(ToString::to_string).collect(),
            external_id: manifest
                .external_id
                .as_ref()
                .map(stateward_domain::id::ExternalId::as_str),
            generation: entity.generation.0,
            revision: entity.revision.0,
            version: entity.version.0,
            state: entity.state,
            conditions: entity.conditions().into_iter().map(condition).collect(),
            error: entity.error.as_ref().map(ErrorView::from),
            observed: observed(entity),
            references: reference_views(entity),
            referenced_by: None,
            drift: entity.drift.as_ref().map_or(&[][..], |drift| &drift.diff),
            created_at: time::text(entity.created_at),
            updated_at: time::text(entity.updated_at),
        }
    }
}

impl EntityView<'_> {
    /// The same view with its dependents.
    #[must_use]
    pub(crate) fn with_dependents(self, dependents: &[Arc<Entity>]) -> Self {
        let dependent = |dependent: &Arc<Entity>| DependentView {
            id: dependent.id.to_string(),
            kind: dependent.manifest.kind.to_string(),
            name: dependent.manifest.name.to_string(),
        };
        Self { referenced_by: Some(dependents.iter().map(dependent).collect()), ..self }
    }
}

fn reference_views(entity: &Entity) -> Vec<ReferenceView> {
    let view = |reference: Reference| ReferenceView {
        pointer: reference.pointer,
        kind: reference.target.kind.to_string(),
        name: reference.target.name.to_string(),
        field: reference.field.to_string(),
    };
    references::declared(&entity.manifest.desired).into_iter().map(view).collect()
}

fn condition(condition: stateward_domain::entity::conditions::Condition) -> ConditionView {
    ConditionView {
        kind: condition.kind,
        status: condition.status,
        reason: condition.reason,
        message: condition.message,
        since: time::text(condition.since),
    }
}

fn observed(entity: &Entity) -> ObservedView<'_> {
    let observed = &entity.observed;
    let present = observed.presence == Presence::Present;
    ObservedView {
        presence: observed.presence,
        external_id: observed.external_id.as_ref().map(stateward_domain::id::ExternalId::as_str),
        attributes: observed.attributes.as_ref(),
        generation: present.then_some(observed.generation.0),
        observed_at: observed.observed_at.map(time::text),
    }
}
