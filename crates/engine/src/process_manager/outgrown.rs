//! Desired states that cannot be applied: a newer version of their kind's schema does not accept them, or the log holds
//! more than can be read.

use stateward_domain::document;
use stateward_domain::entity::event::Next;
use stateward_domain::entity::state::BlockedOn;
use stateward_domain::entity::{Entity, references};
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::Attempt;

use crate::backends::bounded::{MESSAGE_CHARS_MAX, shortened};
use crate::error::Error;
use crate::process_manager::reference::waits_already;
use crate::process_manager::round::{Flow, Round};
use crate::stand_ins::StandIns;

impl Round<'_> {
    /// The kind's schema changed since the desired state was checked.
    pub(crate) async fn outgrown(
        &self,
        entity: &Entity,
        takes_over: Option<Attempt>,
    ) -> Result<Option<Flow>, Error> {
        let manifest = &entity.manifest;
        let found = references::declared(&manifest.desired);
        let stand_ins = StandIns::of(&manifest.desired, &found);
        let checked = stand_ins.checked(&self.shared.kinds, self.driver(), &manifest.kind);
        if checked.is_ok() || entity.deletion.is_some() {
            return Ok(None);
        }
        let message = "the kind's schema changed and does not accept the desired state any more";
        let failure = Failure::harmless(ErrorClass::Invalid, "schema_changed", message);
        let check_at = self.now().after(self.backend.settings.retry.max);
        let next = Next::Blocked { on: BlockedOn::Schema, check_at };
        self.fail_with(entity, takes_over, &failure, next).await.map(Some)
    }

    /// A part of the desired state was nested too deep to be read: what is left of it must not be applied. A new desired
    /// state, a deletion and a release go on.
    pub(crate) async fn incomplete(
        &self,
        entity: &Entity,
        takes_over: Option<Attempt>,
    ) -> Result<Option<Flow>, Error> {
        if entity.deletion.is_some() {
            return Ok(None);
        }
        let Some(pointer) = document::omitted(&entity.manifest.desired) else { return Ok(None) };
        let message = format!(
            "the desired state is nested too deep to be read whole (at {pointer}): send a new one"
        );
        let message = shortened(message, MESSAGE_CHARS_MAX);
        let failure = Failure::harmless(ErrorClass::Invalid, "desired_state_too_deep", message);
        if waits_already(entity, &failure) && takes_over.is_none() {
            return self.not_now(entity, None).await.map(Some);
        }
        let check_at = self.now().after(self.backend.settings.retry.max);
        let next = Next::Blocked { on: BlockedOn::Schema, check_at };
        self.fail_with(entity, takes_over, &failure, next).await.map(Some)
    }
}
