//! The reader of `examples/cqrs-es-reader` folds what random lives left as the product does, event by event.

use std::collections::BTreeSet;

use cqrs_es_reader::entity::Entity as Shown;
use cqrs_es_reader::event::KNOWN;
use cqrs_es_reader::replay::Log;
use serde_json::{Value, json};
use sqlx::PgPool;
use stateward_domain::entity::{Entity, EntityEvent};

use crate::lives;

/// What the reader shows of an entity, from the product's own fold.
fn expected(entity: &Entity) -> Value {
    let manifest = &entity.manifest;
    let operations = entity.operations.iter();
    let operations: serde_json::Map<String, Value> = operations
        .map(|operation| (operation.id.to_string(), json!(operation.kind.label())))
        .collect();
    let state = if entity.exists() { entity.state.name() } else { "" };
    json!({
        "version": entity.version, "state": state, "namespace": manifest.namespace, "kind": manifest.kind,
        "name": manifest.name, "backend": manifest.backend, "desired": manifest.desired,
        "labels": manifest.settings.labels, "protected": manifest.settings.protected,
        "generation": entity.generation, "revision": entity.revision,
        "presence": entity.observed.presence, "external_id": entity.observed.external_id,
        "attributes": entity.observed.attributes, "observed_generation": entity.observed.generation,
        "operations": operations, "error": entity.error.as_ref().map(|error| &error.code),
        "drifted": entity.drift.is_some(), "lost": entity.lost.as_ref().map(|lost| lost.policy),
        "paused": entity.paused.is_some(), "deletion": entity.deletion, "released": entity.released,
    })
}

fn shown(entity: &Shown) -> Value {
    let settings = &entity.settings;
    json!({
        "version": entity.version, "state": entity.state, "namespace": entity.namespace, "kind": entity.kind,
        "name": entity.name, "backend": entity.backend, "desired": entity.desired,
        "labels": settings.labels.clone().unwrap_or_default(), "protected": settings.protected.unwrap_or_default(),
        "generation": entity.generation, "revision": entity.revision,
        "presence": entity.observed.presence, "external_id": entity.observed.external_id,
        "attributes": entity.observed.attributes, "observed_generation": entity.observed.generation,
        "operations": entity.operations, "error": entity.error,
        "drifted": entity.drifted, "lost": entity.lost,
        "paused": entity.paused, "deletion": entity.deletion, "released": entity.released,
    })
}

/// Type and payload of a stream's events, as stored.
pub(crate) async fn stored(pool: &PgPool, id: &str) -> Vec<(String, String)> {
    let query = "SELECT event_type, payload::text FROM stateward.events \
                 WHERE aggregate_type = 'entity' AND aggregate_id = $1 ORDER BY sequence";
    sqlx::query_as(query).bind(id).fetch_all(pool).await.expect("the stream")
}

#[test]
fn the_reader_knows_every_event_that_the_product_writes() {
    let known: BTreeSet<_> = KNOWN.iter().collect();
    assert_eq!(known, EntityEvent::NAMES.iter().collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reader_folds_random_lives_as_the_product_does_event_by_event() {
    let Some(lived) = lives::run().await else { return };
    let url = lived.database.owner_url();
    let pool = PgPool::connect(&url).await.expect("connected");
    let log = Log::open(&url).await.expect("the log");
    let (mut types, mut events, mut states) = (BTreeSet::new(), 0, BTreeSet::new());
    let heads = log.heads().await.expect("heads");
    assert_eq!(heads.len(), lived.lives);
    for (id, head) in heads {
        let mut theirs = Vec::new();
        log.replay(&id, head, |entity| theirs.push(shown(entity))).await.expect("a whole stream");
        let stored = stored(&pool, &id).await;
        assert_eq!(theirs.len(), stored.len(), "{id}");
        let mut ours = Entity::default();
        for ((event_type, payload), theirs) in stored.into_iter().zip(theirs) {
            let event: EntityEvent = serde_json::from_str(&payload).expect("ours");
            ours.evolve(&event);
            assert_eq!(theirs, expected(&ours), "{id} after {payload}");
            states.insert(ours.state.name());
            types.insert(event_type);
            events += 1;
        }
    }
    println!(
        "{events} events of {} types, through {} states: {types:?}",
        types.len(),
        states.len()
    );
    // Beside these there are only events that need a second process or an object that others change.
    assert!(types.len() >= 20, "{types:?}");
    assert!(states.len() >= 8, "{states:?}");
}
