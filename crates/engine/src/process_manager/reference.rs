//! References on their way to a driver, and what happens when one has no value yet.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use stateward_domain::entity::Entity;
use stateward_domain::entity::references::{self, Waiting};
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::Attempt;

use crate::error::Error;
use crate::process_manager::round::{Flow, Round};
use crate::stand_ins::StandIns;

/// Faults of a desired state that a failure names at most: it goes into an event.
const FAULTS_TOLD_MAX: usize = 5;

impl Round<'_> {
    /// `desired` with the values of its references in their places, as schema and driver take it; the failure says
    /// whom it waits for, or what is wrong with a value. All values are of this moment: nothing of them is kept.
    ///
    /// # Errors
    /// When nobody could tell.
    pub(crate) async fn resolved<'v>(
        &self,
        entity: &Entity,
        desired: &'v Value,
    ) -> Result<Result<Cow<'v, Value>, Failure>, Error> {
        // What is in the log was checked; were one malformed nevertheless, the driver would refuse it.
        let found = references::references(desired).unwrap_or_default();
        if found.is_empty() {
            return Ok(Ok(Cow::Borrowed(desired)));
        }
        let namespace = &entity.manifest.namespace;
        let mut targets = BTreeMap::new();
        for target in references::targets(&found) {
            let fold = self.shared.entities.named(namespace, &target).await?;
            targets.insert(target, fold);
        }
        let newest = |of: &_| targets.get(of).and_then(Option::as_deref);
        let values = match references::values(&found, newest) {
            Ok(values) => values,
            Err(waiting) => return Ok(Err(not_ready(&waiting))),
        };
        let resolved = references::resolve(desired, &values);
        let checked = StandIns::of(&resolved, &[]).checked(
            &self.shared.kinds,
            self.driver(),
            &entity.manifest.kind,
        );
        match checked {
            Ok(normal) => Ok(Ok(Cow::Owned(normal))),
            Err(Error::Invalid(faults)) => {
                let faults = faults.iter().take(FAULTS_TOLD_MAX);
                let faults = faults.map(|fault| format!("{} {}", fault.pointer, fault.message));
                let message = format!(
                    "not accepted with the values of its references: {}",
                    faults.collect::<Vec<_>>().join("; ")
                );
                Ok(Err(Failure::harmless(ErrorClass::Invalid, "references_invalid", message)))
            }
            Err(other) => Err(other),
        }
    }

    /// A reference has no value that could be used. The entity says so once, and is looked at again when the one that
    /// it names shows itself, and every now and then.
    pub(crate) async fn lacks_reference(
        &self,
        entity: &Arc<Entity>,
        takes_over: Option<Attempt>,
        failure: Failure,
    ) -> Result<Flow, Error> {
        let told = entity.blocked.is_some() && entity.error.as_ref() == Some(&failure);
        if told && takes_over.is_none() {
            return self.not_now(entity, None).await;
        }
        self.look_failed(entity, takes_over, failure).await
    }
}

fn not_ready(waiting: &Waiting) -> Failure {
    let class = ErrorClass::ReferenceNotReady { on: Box::new(waiting.target.clone()) };
    Failure::harmless(class, "reference_not_ready", waiting.to_string())
}
