//! For how long an append in flight has held readers back.

use std::time::Duration;

use tokio::time::Instant;

/// Places of a block of positions.
const BLOCK: i64 = 1_024;

/// The horizon at which readers stand, if there are positions that were drawn beyond it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HeldBack(Option<(i64, Instant)>);

impl HeldBack {
    /// After one more horizon was read, and then the last number that was drawn. A horizon that moved is not held.
    pub(super) fn after(self, horizon: i64, drawn: i64, now: Instant) -> Self {
        let beyond = horizon <= drawn.saturating_mul(BLOCK);
        match self.0 {
            Some((at, _)) if beyond && at == horizon => self,
            _ => Self(beyond.then_some((horizon, now))),
        }
    }

    /// For how long; zero = nothing holds readers back.
    pub(super) fn lasted(self, now: Instant) -> Duration {
        self.0.map_or(Duration::ZERO, |(_, since)| now.saturating_duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_horizon_that_stays_before_what_was_drawn_is_held() {
        let began = Instant::now();
        let mut held = HeldBack::default();
        for (second, horizon, drawn, lasted) in [
            (0, 2 * BLOCK, 1, 0),
            (1, 2 * BLOCK, 2, 0),
            (3, 2 * BLOCK, 4, 2),
            (7, 2 * BLOCK, 9, 6),
            (8, 5 * BLOCK, 9, 0),
            (9, 5 * BLOCK, 9, 1),
            (10, 10 * BLOCK, 9, 0),
            (11, 10 * BLOCK, 9, 0),
        ] {
            let now = began + Duration::from_secs(second);
            held = held.after(horizon, drawn, now);
            assert_eq!(held.lasted(now), Duration::from_secs(lasted), "{second}");
        }
    }
}
