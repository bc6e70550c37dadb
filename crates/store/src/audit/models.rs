//! Names of the models that follow the log, and faults of their quarantine.

use stateward_domain::audit::{Fault, FaultKind};
use stateward_domain::envelope::StreamId;

/// Name of the read model and of its checkpoint.
pub(crate) const ENTITIES: &str = "entities";
/// Checkpoint of a read model that is being rebuilt.
pub(super) const REBUILD: &str = "entities@beside";
/// Name of the queue's checkpoint.
pub(crate) const QUEUE: &str = "sync_queue";

/// A fault of a row of `quarantine`.
pub(super) fn set_aside_fault(stream: &str, what: &str) -> Fault {
    let fault = Fault::new(FaultKind::View, format!("what is set aside, {stream}: {what}"));
    fault.in_table("quarantine", stream, None)
}

/// The fault that an entity's stream is in quarantine though it should not be, or the reverse.
pub(super) fn quarantine_fault(stream: &StreamId, what: &str) -> Fault {
    set_aside_fault(&stream.to_string(), what).of(stream)
}
