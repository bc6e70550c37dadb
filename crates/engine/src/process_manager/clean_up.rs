//! Clean-up of strays: objects that a late worker left behind.

use std::sync::Arc;

use stateward_domain::entity::Entity;
use stateward_domain::entity::command::{Completion, Intent};
use stateward_domain::entity::state::AttemptStep;
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::{Attempt, ExternalId};

use crate::error::Error;
use crate::process_manager::observe::ObserveOutcome;
use crate::process_manager::round::{Round, StepResult};

impl Round<'_> {
    /// Deletes a stray, after an observation has shown that it is not another owner's.
    pub(crate) async fn clean_up(
        &self,
        entity: &Arc<Entity>,
        takes_over: Option<Attempt>,
        external_id: &ExternalId,
    ) -> Result<StepResult, Error> {
        let step = AttemptStep::CleanUp { external_id: external_id.clone() };
        let foreign = match self.observe_known(entity, external_id).await {
            Ok(ObserveOutcome::Present { object, .. }) => {
                let owner =
                    object.owner_key.as_ref().and_then(stateward_domain::id::OwnerKey::parse);
                let others = owner.is_some_and(|(owner, _)| owner != entity.id);
                others || (self.kind.owner_key && owner.is_none())
            }
            Ok(ObserveOutcome::Absent) => true,
            Ok(_) => {
                let message = "it is not certain whether a stray object is there";
                let failure = Failure::harmless(ErrorClass::Transient, "look_unclear", message);
                return self.clean_up_failed(entity, takes_over, &failure).await;
            }
            Err(failure) => return self.clean_up_failed(entity, takes_over, &failure).await,
        };
        if !foreign {
            return self.execute_step(entity, takes_over, step, Some(external_id), None).await;
        }
        let completion = Completion {
            attempt: None,
            takes_over,
            generation: entity.generation,
            step,
            observed: self.observed_absent(),
            diff: Vec::new(),
            operations: Vec::new(),
        };
        let done = self.report(entity, &Intent::Complete(completion)).await?;
        Ok(self.result_after(&done.entity))
    }

    async fn clean_up_failed(
        &self,
        entity: &Entity,
        takes_over: Option<Attempt>,
        failure: &Failure,
    ) -> Result<StepResult, Error> {
        let next = self.retry_context(entity).after_clean_up(failure);
        self.fail_with(entity, takes_over, failure, next).await
    }
}
