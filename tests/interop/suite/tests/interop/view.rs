//! A view of their kind, filled from the product's events as their users do it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use cqrs_es::persist::{GenericQuery, QueryReplay, ViewRepository as _};
use cqrs_es::{EventEnvelope, View};
use cqrs_es_reader::entity::Entity;
use cqrs_es_reader::event::Event;
use cqrs_es_reader::replay::{EVENTS, Log};
use cqrs_es_reader::upcasters::upcasters;
use postgres_es::{PostgresEventRepository, PostgresViewRepository};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;

use crate::lives;

/// How often each entity was changed and failed, by which actors.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Activity {
    events: usize,
    requests: u32,
    failures: u32,
    actors: BTreeMap<String, u32>,
}

impl View<Entity> for Activity {
    fn update(&mut self, event: &EventEnvelope<Entity>) {
        self.events = event.sequence;
        let actor = event.metadata.get("actor_type").cloned().unwrap_or_default();
        *self.actors.entry(actor).or_default() += 1;
        match event.payload {
            Event::SyncFailed { .. } => self.failures += 1,
            Event::CreateRequested { .. }
            | Event::UpdateRequested { .. }
            | Event::DeleteRequested { .. } => self.requests += 1,
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_of_theirs_is_filled_from_our_events() {
    let Some(lived) = lives::run().await else { return };
    let url = lived.database.owner_url();
    let pool = PgPool::connect(&url).await.expect("connected");
    for statement in [
        "CREATE SCHEMA portal",
        "CREATE TABLE portal.activity (view_id text PRIMARY KEY, version bigint CHECK (version >= 0) NOT NULL, \
         payload json NOT NULL)",
    ] {
        sqlx::query(statement).execute(&pool).await.expect("made");
    }
    let views = PostgresViewRepository::<Activity, Entity>::new("portal.activity", pool.clone());
    let views = Arc::new(views);
    let faults = Arc::new(Mutex::new(Vec::new()));
    let mut query = GenericQuery::new(Arc::clone(&views));
    let seen = Arc::clone(&faults);
    query.use_error_handler(Box::new(move |error| {
        seen.lock().expect("no panic").push(error.to_string());
    }));
    let events = PostgresEventRepository::new(pool.clone()).with_tables(EVENTS, "none");
    let replay = QueryReplay::new(events, query).with_upcasters(upcasters());
    let heads = Log::open(&url).await.expect("the log").heads().await.expect("heads");
    for (id, head) in &heads {
        replay.replay(id).await.expect("replayed");
        // A replay that ends early says nothing: what the view has seen is compared with the head.
        let view = views.load(id).await.expect("the table").expect("a row");
        assert_eq!(view.events, *head, "{id}");
        assert!(view.requests >= 1 && view.actors.contains_key("user"), "{view:?}");
    }
    assert_eq!(*faults.lock().expect("no panic"), Vec::<String>::new());

    // Replaying again counts everything twice: the view has no checkpoint. Ours has one, in the transaction of its rows.
    let (id, _) = &heads[0];
    let once = views.load(id).await.expect("the table").expect("a row");
    replay.replay(id).await.expect("replayed");
    let twice = views.load(id).await.expect("the table").expect("a row");
    assert_eq!(twice.requests, 2 * once.requests);
}
