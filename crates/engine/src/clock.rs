//! Time, ids and randomness: the only sources of nondeterminism. All other code takes these as arguments or from here.

use std::sync::Mutex;
use std::time::Duration;

use stateward_domain::id::{EntityId, EventId, OperationId};
use stateward_domain::time::{LogClock, Moment, Timestamp};
use uuid::{ContextV7, Uuid};

/// Orders ids of the same millisecond.
static ID_CONTEXT: Mutex<ContextV7> = Mutex::new(ContextV7::new());

/// Clock, id generator and randomness. Cheap to clone.
#[derive(Clone)]
pub struct ClockAndIds {
    /// The log's clock, shared with the store.
    pub log_clock: LogClock,
}

impl ClockAndIds {
    /// Log time, which never runs back: events are recorded at it, and waits are counted from it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.moment().log
    }

    /// Wall, log and steady time at one moment.
    #[must_use]
    pub fn moment(&self) -> Moment {
        self.log_clock.moment()
    }

    /// The steady (monotonic) clock, for deadlines and leases: time since a fixed moment of this machine's uptime.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.log_clock.elapsed()
    }

    /// A new `UUIDv7` of log time: ids sort in the order of their creation, also across restarts. Lists that show the
    /// newest first rely on it.
    #[must_use]
    pub fn id(&self) -> Uuid {
        let micros = self.now().0.unsigned_abs();
        let nanos = u32::try_from(micros % 1_000_000).unwrap_or_default() * 1_000;
        Uuid::new_v7(uuid::Timestamp::from_unix(&ID_CONTEXT, micros / 1_000_000, nanos))
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

    /// A new token value: 256 random bits, which cannot be guessed.
    #[must_use]
    pub fn secret(&self) -> String {
        let bytes: [u8; 32] = rand::random();
        bytes.iter().fold(String::from("stw_"), |text, byte| text + &format!("{byte:02x}"))
    }

    /// A random factor between one half and one, for waits: callers that wait for the same event do not return all at
    /// once.
    #[must_use]
    pub fn jitter(&self) -> f64 {
        rand::random_range(0.5..=1.0)
    }

    /// `duration` times a random factor between one half and one.
    #[must_use]
    pub fn jittered(&self, duration: Duration) -> Duration {
        duration.mul_f64(self.jitter())
    }
}

#[cfg(test)]
mod tests {
    use stateward_domain::time::ManualClock;

    use super::*;

    #[test]
    fn ids_rise_whatever_the_wall_clock_does() {
        let manual = ManualClock::new();
        let clock = ClockAndIds { log_clock: LogClock::from(manual.clone()) };
        let mut last = clock.id();
        let hours = Duration::from_hours;
        let steps: [&dyn Fn(); 4] = [
            &|| manual.set_back(hours(3)),
            &|| manual.set_forward(hours(24)),
            &|| manual.set_back(hours(24)),
            &|| manual.advance(hours(1)),
        ];
        for step in steps {
            step();
            for _ in 0..3 {
                let next = clock.id();
                assert!(next > last, "{next} after {last}");
                last = next;
            }
        }
    }
}
