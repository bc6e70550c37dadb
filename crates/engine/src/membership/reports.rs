//! What the members report of each backend, and what follows from all reports together.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use stateward_domain::id::{BackendName, Version};
use stateward_domain::ports::cluster::{Member, NodeId};
use stateward_domain::ports::member_report::{BackendReport, ReloadOutcome};
use stateward_domain::ports::store_error::StoreError;

use super::Membership;
use crate::backends::Backend;
use crate::backends::answer_limits::{MESSAGE_CHARS_MAX, shortened};
use crate::backends::mass_absence::MassAbsence;

impl Membership {
    /// Whether too many objects of `backend` are absent at once, by the counts of all members. What this process counted
    /// before the call is reported first: of several members that count at once, one sees the counts of all.
    ///
    /// # Errors
    /// [`StoreError`]: nothing is known of the others, and nothing may be acted on.
    pub(crate) async fn mass_absence(
        &self,
        backend: &Backend,
        known: Version,
    ) -> Result<MassAbsence, StoreError> {
        let members = if self.is_shared() { self.beat().await? } else { Vec::new() };
        let others = reports_of(&members, self.id, backend.name()).map(|other| other.observations);
        let own = backend.mass_absence.counted(self.clock.moment().steady);
        Ok(MassAbsence::of(known, others.chain([own])))
    }

    /// Whether another member that works on the backend reports that it can use it.
    pub(crate) fn is_usable_elsewhere(&self, backend: &BackendName) -> bool {
        let known = self.known.borrow();
        let workers = known.workers(backend);
        let mut others = known.members.iter().filter(|member| member.id != self.id);
        others.any(|other| {
            let report = other.report.backends.get(backend);
            workers.contains(&other.id) && report.is_some_and(|report| report.usable)
        })
    }

    /// Reports from now on how this process carried out the reload that is recorded at `version` of the system stream.
    /// One that is recorded before the reported one changes nothing.
    pub(crate) fn note_reload(&self, version: Version, error: Option<String>) {
        let error = error.map(|error| shortened(error, MESSAGE_CHARS_MAX));
        let mut reload = self.reload.lock().unwrap_or_else(PoisonError::into_inner);
        if reload.as_ref().is_none_or(|known| known.version <= version) {
            *reload = Some(ReloadOutcome { version, error });
        }
    }

    /// Reports from now on whether the restore hold is the cause that this process changes nothing.
    pub(crate) fn note_restore_hold(&self, held: bool) {
        self.restore_hold.store(held, Ordering::Release);
    }

    pub(super) fn reload(&self) -> Option<ReloadOutcome> {
        self.reload.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts in force for the circuit breakers how the calls of the others went.
    pub(super) fn compare_calls(&self, members: &[Member]) {
        for (name, backend) in &*self.backends.all() {
            let others = reports_of(members, self.id, name).map(|other| other.calls);
            backend.availability.compare_calls(others);
        }
    }
}

/// What the members other than `me` report of the backend.
fn reports_of<'a>(
    members: &'a [Member],
    me: NodeId,
    backend: &'a BackendName,
) -> impl Iterator<Item = BackendReport> + 'a {
    let others = members.iter().filter(move |member| member.id != me);
    others.filter_map(|member| member.report.backends.get(backend).copied())
}
