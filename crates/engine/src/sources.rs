//! Where time, ids and chance come from. Everything else takes them as arguments or from here.

use std::sync::Arc;
use std::time::Duration;

use stateward_domain::id::{EntityId, EventId, OperationId};
use stateward_domain::time::{Clock, SteadyClock, Timestamp};
use uuid::Uuid;

/// The outside's time and chance, as one cheap handle.
#[derive(Clone)]
pub struct Sources {
    /// Wall clock.
    pub clock: Arc<dyn Clock>,
    /// Clock for leases and deadlines.
    pub steady: Arc<dyn SteadyClock>,
}

impl Sources {
    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A new `UUIDv7`.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that makes ids")]
    pub fn id(&self) -> Uuid {
        Uuid::now_v7()
    }

    /// A new entity id.
    #[must_use]
    pub fn entity_id(&self) -> EntityId {
        EntityId(self.id())
    }

    /// A new operation id.
    #[must_use]
    pub fn operation_id(&self) -> OperationId {
        OperationId(self.id())
    }

    /// A new event id.
    #[must_use]
    pub fn event_id(&self) -> EventId {
        EventId(self.id())
    }

    /// A value that nobody guesses: 256 bits of chance.
    #[must_use]
    pub fn secret(&self) -> String {
        let bytes: [u8; 32] = rand::random();
        bytes.iter().fold(String::from("stw_"), |text, byte| text + &format!("{byte:02x}"))
    }

    /// Chance, between one half and one: what many wait for is multiplied by it, so that they do not come back
    /// all at once.
    #[must_use]
    pub fn jitter(&self) -> f64 {
        rand::random_range(0.5..=1.0)
    }

    /// `duration`, shortened by up to half by chance.
    #[must_use]
    pub fn jittered(&self, duration: Duration) -> Duration {
        duration.mul_f64(self.jitter())
    }
}
