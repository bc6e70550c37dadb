//! Changes of operations by an event, a function of the event alone. Every operation ends exactly once.

use crate::entity::event::{EntityEvent, Next};
use crate::entity::operation::OperationState;
use crate::entity::state::{Decision, OperationKind};
use crate::failure::Failure;
use crate::id::OperationId;

/// A change of one or more operations.
#[derive(Clone, Debug, PartialEq)]
pub enum OperationChange {
    /// It was opened.
    Opened {
        /// Its id.
        id: OperationId,
        /// What it asks for.
        kind: OperationKind,
    },
    /// An attempt serves them.
    Running {
        /// Their ids.
        ids: Vec<OperationId>,
    },
    /// An attempt failed; every open operation of the entity waits for the next one.
    Tried {
        /// Why it failed.
        error: Failure,
    },
    /// They ended.
    Ended {
        /// Their ids.
        ids: Vec<OperationId>,
        /// Their final state.
        state: OperationState,
        /// The failure, when they failed.
        error: Option<Failure>,
        /// The superseding operation.
        by: Option<OperationId>,
    },
}

fn opened(id: OperationId, kind: OperationKind) -> Vec<OperationChange> {
    vec![OperationChange::Opened { id, kind }]
}

fn ended(ids: &[OperationId], state: OperationState) -> OperationChange {
    OperationChange::Ended { ids: ids.to_vec(), state, error: None, by: None }
}

/// The changes by `event`, in order. `had_change` = a change was open before it: then a decision opens no operation
/// of its own.
#[must_use]
pub fn changes(event: &EntityEvent, had_change: bool) -> Vec<OperationChange> {
    match event {
        EntityEvent::CreateRequested { operation_id, .. } => {
            opened(*operation_id, OperationKind::Create)
        }
        EntityEvent::UpdateRequested { operation_id, .. } => {
            opened(*operation_id, OperationKind::Update)
        }
        EntityEvent::DeleteRequested { operation_id, .. } => {
            opened(*operation_id, OperationKind::Delete)
        }
        EntityEvent::ActionRequested { operation_id, action, .. } => {
            opened(*operation_id, OperationKind::Action(action.clone()))
        }
        EntityEvent::RefreshRequested { operation_id, .. } => {
            opened(*operation_id, OperationKind::Refresh)
        }
        EntityEvent::RetryRequested { operation_id, .. } => {
            opened(*operation_id, OperationKind::Retry)
        }
        EntityEvent::AdoptRequested { operation_id, .. } => {
            opened(*operation_id, OperationKind::Adopt)
        }
        EntityEvent::DecisionTaken { failed, decision: Decision::GiveUp, .. } => {
            vec![ended(failed, OperationState::Failed)]
        }
        EntityEvent::DecisionTaken { operation_id, .. } if !had_change => {
            opened(*operation_id, OperationKind::Decide)
        }
        EntityEvent::SyncStarted { operations, .. } => {
            vec![OperationChange::Running { ids: operations.clone() }]
        }
        EntityEvent::SyncCompleted { operations, .. }
        | EntityEvent::Deleted { operations, .. }
        | EntityEvent::Released { operations, .. } => {
            vec![ended(operations, OperationState::Succeeded)]
        }
        EntityEvent::SyncFailed { operations, error, next, .. } => {
            let failed = OperationChange::Ended {
                ids: operations.clone(),
                state: OperationState::Failed,
                error: Some(error.clone()),
                by: None,
            };
            if *next == Next::Erred {
                vec![failed]
            } else {
                vec![failed, OperationChange::Tried { error: error.clone() }]
            }
        }
        EntityEvent::OperationSuperseded { operation_id, by, .. } => vec![OperationChange::Ended {
            ids: vec![*operation_id],
            state: OperationState::Superseded,
            error: None,
            by: Some(*by),
        }],
        EntityEvent::OperationCancelled { operation_id, .. } => {
            vec![ended(&[*operation_id], OperationState::Cancelled)]
        }
        // All other events open and end no operation.
        _ => Vec::new(),
    }
}
