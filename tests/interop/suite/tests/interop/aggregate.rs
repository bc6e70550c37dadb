//! The product's own aggregate, loaded by cqrs-es from PostgreSQL.

use cqrs_es::EventStore as _;
use cqrs_es::persist::PersistedEventStore;
use postgres_es::PostgresEventRepository;
use sqlx::PgPool;
use stateward_domain::entity::{Entity, EntityEvent};

use crate::lives;
use crate::reader::stored;

#[tokio::test(flavor = "multi_thread")]
async fn the_product_s_aggregate_is_loaded_by_their_event_store() {
    let Some(lived) = lives::run().await else { return };
    let pool = PgPool::connect(&lived.database.owner_url()).await.expect("connected");
    let repository =
        PostgresEventRepository::new(pool.clone()).with_tables("stateward.events", "none");
    let store = PersistedEventStore::<_, Entity>::new_event_store(repository);
    let ids: Vec<(String,)> = sqlx::query_as(
        "SELECT DISTINCT aggregate_id FROM stateward.events WHERE aggregate_type = 'entity'",
    )
    .fetch_all(&pool)
    .await
    .expect("streams");
    assert_eq!(ids.len(), lived.lives);
    for (id,) in ids {
        let loaded = store.load_aggregate(&id).await.expect("a fold");
        let events: Vec<EntityEvent> = stored(&pool, &id)
            .await
            .iter()
            .map(|(_, payload)| serde_json::from_str(payload).expect("ours"))
            .collect();
        let ours = Entity::fold(&events);
        assert_eq!(loaded.current_sequence, events.len(), "{id}");
        assert_eq!(loaded.aggregate, ours, "{id}");
    }
}
