//! The rate at which a long history is decoded and folded, without disk or server.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Context;
use serde_json::json;
use stateward_domain::entity::state::{AttemptStep, Observed, Presence};
use stateward_domain::entity::{Entity, EntityEvent};
use stateward_domain::id::{Attempt, ExternalId, Generation, Incarnation, OperationId};
use stateward_domain::time::Timestamp;

use super::report::EventRate;
use super::report_progress;

/// Folds `count` events of one stream.
pub(super) async fn measure(count: u64) -> anyhow::Result<EventRate> {
    report_progress("folding");
    let folded = tokio::task::spawn_blocking(move || {
        let history: Vec<String> = (0..count)
            .map(|number| serde_json::to_string(&event(number)?).context("events are JSON"))
            .collect::<anyhow::Result<_>>()?;
        let began = Instant::now();
        let mut entity = Entity::default();
        for payload in &history {
            entity.evolve(&serde_json::from_str(payload)?);
        }
        let took = began.elapsed();
        anyhow::ensure!(entity.version.0 == count, "not every event was folded");
        Ok(EventRate::new(count, took))
    });
    folded.await.context("folding panicked")?
}

/// Event `number` of an entity that is updated again and again: requested, started, completed.
fn event(number: u64) -> anyhow::Result<EntityEvent> {
    let at = Timestamp(i64::try_from(number)?);
    let round = number / 3 + 1;
    let operation_id: OperationId = format!("{round:032x}").parse()?;
    let (attempt, generation) = (Attempt(round), Generation(round));
    let desired = json!({ "size_gib": round, "zone": "zone-1", "encrypted": true });
    let step = AttemptStep::Update { fields: vec!["/size_gib".to_owned()] };
    Ok(match number % 3 {
        0 => EntityEvent::UpdateRequested {
            at,
            operation_id,
            schema_version: 1,
            desired,
            replace: false,
        },
        1 => EntityEvent::SyncStarted {
            at,
            attempt,
            takes_over: None,
            generation,
            incarnation: Incarnation(1),
            step,
            was_present: true,
            operations: vec![operation_id],
        },
        _ => EntityEvent::SyncCompleted {
            at,
            attempt,
            generation,
            step,
            observed: Observed {
                presence: Presence::Present,
                external_id: Some(ExternalId::from("thing-1")),
                attributes: Some(desired),
                generation,
                references: BTreeMap::new(),
                unready: None,
                observed_at: Some(at),
            },
            operations: vec![operation_id],
        },
    })
}
