//! Secrets on their way to a driver, and what happens when one is not there.

use std::sync::Arc;

use serde_json::Value;
use stateward_domain::entity::Entity;
use stateward_domain::entity::event::Next;
use stateward_domain::entity::state::{AttemptStep, BlockedOn};
use stateward_domain::failure::Failure;
use stateward_domain::id::Attempt;

use crate::error::Error;
use crate::process_manager::round::{Flow, Round};

impl Round<'_> {
    /// What `step` gives to the driver: `spec`, with the values of its secrets where it writes fields.
    pub(crate) fn given(
        &self,
        entity: &Entity,
        step: &AttemptStep,
        spec: &Value,
    ) -> Result<Value, Failure> {
        match step {
            AttemptStep::Create | AttemptStep::Update { .. } | AttemptStep::Action { .. } => {
                self.shared.secrets.resolve(self.kind, &entity.manifest.namespace, spec)
            }
            AttemptStep::None
            | AttemptStep::Delete
            | AttemptStep::Replace { .. }
            | AttemptStep::CleanUp { .. } => Ok(spec.clone()),
        }
    }

    /// A secret is not configured (any more): the entity says so, and is looked at again when the configuration is read
    /// anew, and every now and then.
    pub(crate) async fn lacks_secret(
        &self,
        entity: &Arc<Entity>,
        takes_over: Option<Attempt>,
        failure: &Failure,
    ) -> Result<Flow, Error> {
        let pause = self.backend.settings.breaker.probe_interval;
        let blocked = entity.blocked.as_ref();
        let told = blocked.is_some_and(|blocked| {
            blocked.on == BlockedOn::Secret && blocked.message == failure.message
        });
        if told && takes_over.is_none() {
            return self.not_now(entity, None).await;
        }
        let next = Next::Blocked { on: BlockedOn::Secret, check_at: self.now().after(pause) };
        self.fail_with(entity, takes_over, failure, next).await
    }
}
