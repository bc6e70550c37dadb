//! Requests for changes of entities, and what comes of them.

use std::sync::Arc;

use serde_json::Value;
use stateward_domain::entity::Entity;
use stateward_domain::entity::operation::OperationRow;
use stateward_domain::entity::state::{Decision, Difference, Settings, SettingsPatch};
use stateward_domain::entity::target::Target;
use stateward_domain::field_error::FieldError;
use stateward_domain::id::{
    ActionName, BackendName, EntityName, ExternalId, KindName, Namespace, OperationId, Position,
    Revision,
};
use stateward_domain::kind::KindSpec;

use crate::admission::names;
use crate::admission::proposed::Proposed;
use crate::backends::Backend;
use crate::commands::CommandOutcome;

/// A new entity, as declared.
#[derive(Clone, Debug)]
pub struct Declaration {
    /// Scope.
    pub namespace: Namespace,
    /// Kind.
    pub kind: KindName,
    /// Name.
    pub name: EntityName,
    /// Where; `None` when exactly one backend fits.
    pub backend: Option<BackendName>,
    /// Desired state, as written.
    pub desired: Value,
    /// Everything else.
    pub settings: Settings,
    /// The object to adopt.
    pub external_id: Option<ExternalId>,
}

impl Declaration {
    /// What is wrong with its names; `kind` `None` = it is not known.
    pub(super) fn faults(&self, kind: Option<&KindSpec>) -> Vec<FieldError> {
        let Self { name, external_id, settings, .. } = self;
        names::declaration_faults(name, external_id.as_ref(), settings, kind)
    }

    pub(super) fn proposed<'a>(&'a self, backend: &'a Backend) -> Proposed<'a> {
        let Self { namespace, kind, name, desired, .. } = self;
        let entity = Target { kind: kind.clone(), name: name.clone() };
        Proposed { backend, namespace, entity, desired, before: None }
    }
}

/// A change of an entity, as asked for.
#[derive(Clone, Debug, Default)]
pub struct EntityChange {
    /// Refuse unless the entity stands at one of these revisions; `None` = at any.
    pub if_revision: Option<Vec<Revision>>,
    /// New desired state, whole; `None` leaves it.
    pub desired: Option<Value>,
    /// New settings.
    pub settings: SettingsPatch,
    /// Whether the object may be replaced for it, whatever the settings say.
    pub replace: bool,
}

/// What a change would do.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The entity as it is.
    pub entity: Arc<Entity>,
    /// How the desired state would change, field by field (`observed` = as it is now).
    pub differences: Vec<Difference>,
    /// Fields for which the object would be replaced.
    pub replaces: Vec<String>,
    /// Whether the desired state would be wanted anew: also the same one, once it may be replaced for.
    pub wants: bool,
}

/// A verb that every kind has, or one of its own.
#[derive(Clone, Debug)]
pub enum Verb {
    /// Look now.
    Refresh,
    /// Try again now.
    Retry,
    /// Stop changes.
    Pause,
    /// Let changes go on.
    Resume,
    /// Take an existing object.
    Adopt(ExternalId),
    /// Forget the entity, leave the object.
    Release,
    /// Answer an open question.
    Decide(Decision),
    /// Take an operation back.
    Cancel(OperationId),
    /// One of the kind's own.
    KindAction(ActionName, Value),
}

/// What came of a request.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The entity right after it.
    pub entity: Arc<Entity>,
    /// The operation that it opened, or the one that already does what was asked, as it stood then; `None` when
    /// nothing has to be done on the backend.
    pub operation: Option<OperationRow>,
    /// Where the log stands with it.
    pub position: Position,
}

impl From<CommandOutcome> for Accepted {
    fn from(outcome: CommandOutcome) -> Self {
        Self { entity: outcome.entity, operation: outcome.operation, position: outcome.position }
    }
}
