//! Time since the last change of an object. Both times are of the cloud's clock, so that ours does not matter.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::openstack::cloud_time;

/// Whether the last change was more than `patience` before `now`; false if a time is unknown.
pub(super) fn idle_longer_than(
    row: &Value,
    now: Option<Timestamp>,
    patience: SignedDuration,
) -> bool {
    let touched = row["updated_at"].as_str().or_else(|| row["updated"].as_str());
    let touched = touched.or_else(|| row["created_at"].as_str());
    match (touched.and_then(cloud_time::parsed), now) {
        (Some(touched), Some(now)) => now.duration_since(touched) > patience,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_compared_whatever_their_spelling() {
        let now = Some("2026-11-25T05:00:01Z".parse().unwrap());
        let hour = SignedDuration::from_hours(1);
        for (row, rests) in [
            (json!({"updated_at": "2026-11-25T04:00:00.000000"}), true),
            (json!({"updated_at": null, "created_at": "2026-11-25T04:00:00"}), true),
            (json!({"updated": "2026-11-25T04:00:01Z"}), false),
            (
                json!({"updated_at": "2026-11-25T04:30:00.5", "created_at": "2020-01-01T00:00:00"}),
                false,
            ),
            (json!({}), false),
        ] {
            assert_eq!(idle_longer_than(&row, now, hour), rests, "{row}");
        }
        assert!(!idle_longer_than(&json!({"updated": "2020-01-01T00:00:00Z"}), None, hour));
    }
}
