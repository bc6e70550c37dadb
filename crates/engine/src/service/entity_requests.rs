//! Requests about entities, and their results.

use std::sync::Arc;

use serde_json::Value;
use stateward_domain::entity::Entity;
use stateward_domain::entity::operation::OperationRow;
use stateward_domain::entity::reference_target::Target;
use stateward_domain::entity::state::{Decision, Difference, Settings, SettingsPatch};
use stateward_domain::field_error::FieldError;
use stateward_domain::id::{
    ActionName, BackendName, EntityName, ExternalId, KindName, Namespace, OperationId, Position,
    Revision,
};
use stateward_domain::kind::KindSpec;

use crate::admission::names;
use crate::admission::proposed_state::Proposed;
use crate::backends::Backend;
use crate::commands::CommandOutcome;

/// A new entity, as declared.
#[derive(Clone, Debug)]
pub struct Declaration {
    /// Namespace.
    pub namespace: Namespace,
    /// Kind.
    pub kind: KindName,
    /// Name.
    pub name: EntityName,
    /// Backend; `None` = the only one that serves the kind in the namespace.
    pub backend: Option<BackendName>,
    /// Desired state, as written.
    pub desired: Value,
    /// Settings.
    pub settings: Settings,
    /// The object to adopt.
    pub external_id: Option<ExternalId>,
}

impl Declaration {
    /// Faults of its names; `kind` `None` = the kind is unknown.
    pub(super) fn faults(&self, kind: Option<&KindSpec>) -> Vec<FieldError> {
        let Self { name, external_id, settings, .. } = self;
        names::declaration_faults(name, external_id.as_ref(), settings, kind)
    }

    pub(super) fn proposed<'a>(&'a self, backend: &'a Backend) -> Proposed<'a> {
        let Self { namespace, kind, name, desired, .. } = self;
        let entity = Target { kind: kind.clone(), name: name.clone() };
        let depends_on = &self.settings.depends_on;
        Proposed { backend, namespace, entity, desired, depends_on, before: None }
    }
}

/// A requested change of an entity.
#[derive(Clone, Debug, Default)]
pub struct EntityChange {
    /// Refuse unless the entity is at one of these revisions; `None` = any revision.
    pub if_revision: Option<Vec<Revision>>,
    /// New desired state, complete; `None` = unchanged.
    pub desired: Option<Value>,
    /// Changed settings.
    pub settings: SettingsPatch,
    /// Whether the object may be replaced for this change, regardless of the settings.
    pub replace: bool,
}

/// What a change would do.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The entity before the change.
    pub entity: Arc<Entity>,
    /// Fields of the desired state that would change (`observed` = the present value).
    pub differences: Vec<Difference>,
    /// Fields for which the object would be replaced.
    pub replaces: Vec<String>,
    /// Whether the change would be recorded as a new desired state; also for an unchanged one that may now replace the
    /// object.
    pub wants: bool,
}

/// A verb of all kinds, or an action of one kind.
#[derive(Clone, Debug)]
pub enum Verb {
    /// Observe now.
    Refresh,
    /// Retry now.
    Retry,
    /// Pause changes.
    Pause,
    /// Resume changes.
    Resume,
    /// Adopt an existing object.
    Adopt(ExternalId),
    /// Forget the entity, and leave its object.
    Release,
    /// Decide an open question.
    Decide(Decision),
    /// Cancel an operation.
    Cancel(OperationId),
    /// An action of the kind, with its input.
    KindAction(ActionName, Value),
}

/// The result of an accepted request.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The entity right after the request.
    pub entity: Arc<Entity>,
    /// The operation that the request opened, or the open one that already serves it, as of right after the request;
    /// `None` when nothing has to be done on the backend.
    pub operation: Option<OperationRow>,
    /// Position of the log after the request.
    pub position: Position,
}

impl From<CommandOutcome> for Accepted {
    fn from(outcome: CommandOutcome) -> Self {
        Self { entity: outcome.entity, operation: outcome.operation, position: outcome.position }
    }
}
