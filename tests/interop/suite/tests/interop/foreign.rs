//! Appends by postgres-es to the product's log: what the product makes of them.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use cqrs_es::event_sink::EventSink;
use cqrs_es::persist::PersistedEventStore;
use cqrs_es::{Aggregate, AggregateError, DomainEvent, EventStore as _};
use postgres_es::PostgresEventRepository;
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::harness::{Client, Database, World, text, until};
use crate::lives::served;

const CALM: &str = "[backends.sandbox]\ndriver = \"fake\"\n";

/// An event as stored, of any program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Any(pub(crate) Value);

impl DomainEvent for Any {
    fn event_type(&self) -> String {
        // As serde writes enums: a variant without members is a text.
        let tag = self.0.as_object().and_then(|event| event.keys().next());
        match tag.map(String::as_str).or_else(|| self.0.as_str()).unwrap_or_default() {
            "paused" => "entity.paused".to_owned(),
            name => name.to_owned(),
        }
    }

    fn event_version(&self) -> String {
        if self.event_type() == "entity.paused" { "1".to_owned() } else { "1.0".to_owned() }
    }
}

macro_rules! foreign_aggregate {
    ($name:ident, $category:literal) => {
        #[derive(Debug, Default, Serialize, Deserialize)]
        pub(crate) struct $name;

        impl Aggregate for $name {
            const TYPE: &'static str = $category;
            type Command = Infallible;
            type Event = Any;
            type Error = Infallible;
            type Services = ();

            async fn handle(
                &mut self,
                command: Infallible,
                (): &(),
                _: &EventSink<Self>,
            ) -> Result<(), Infallible> {
                match command {}
            }

            fn apply(&mut self, _: Any) {}
        }
    };
}

foreign_aggregate!(Theirs, "entity");
foreign_aggregate!(Account, "account");

pub(crate) type Store<A> = PersistedEventStore<PostgresEventRepository, A>;

pub(crate) fn store<A: Aggregate>(pool: &PgPool) -> Store<A> {
    let repository = PostgresEventRepository::new(pool.clone());
    PersistedEventStore::new_event_store(repository.with_tables("stateward.events", "none"))
}

/// Appends as their framework does: load, then commit.
pub(crate) async fn append<A: Aggregate<Event = Any>>(store: &Store<A>, id: &str, event: Value) {
    let context = store.load_aggregate(id).await.expect("loaded");
    store.commit(vec![Any(event)], context, HashMap::new()).await.expect("appended");
}

/// Version in `streams`, last version in `events`.
async fn versions(pool: &PgPool, id: &str) -> (i64, i64) {
    sqlx::query_as(
        "SELECT s.version, (SELECT max(sequence) FROM stateward.events e WHERE e.aggregate_id = s.aggregate_id) \
         FROM stateward.streams s WHERE s.aggregate_id = $1",
    )
    .bind(id)
    .fetch_one(pool)
    .await
    .expect("the stream")
}

async fn patch(client: &Client, id: &str, desired: Value) -> StatusCode {
    let merge = [("Content-Type", "application/merge-patch+json"), ("Prefer", "wait=10")];
    let path = format!("/v1/entities/{id}");
    let body = json!({ "desired": desired });
    client.send(Method::PATCH, &path, Some(&body), &merge).await.expect("an answer").status
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_by_postgres_es_has_a_place_in_the_order_and_conflicts_with_the_next_one() {
    let Some(database) = Database::shared() else { return };
    let (_setup, server) = served(&database, CALM).await;
    let client = &server.client;
    let id = client.thing("theirs", json!({ "size": 1 })).await;
    let pool = PgPool::connect(&database.owner_url()).await.expect("connected");
    let store = store::<Theirs>(&pool);
    let stale = store.load_aggregate(&id).await.expect("loaded");
    let before = client.get("/v1/events?page_size=1000").await.body;
    let last = text(
        &before["items"].as_array().and_then(|items| items.last()).expect("events")["position"],
    );

    append(&store, &id, json!({ "paused": { "at": 1_700_000_000_000_000_i64 } })).await;
    let (listed, newest) = versions(&pool, &id).await;
    assert_eq!(listed + 1, newest, "their append knows nothing of `streams`");
    until("the entity is paused", async || {
        let entity = client.entity(&id).await;
        crate::harness::condition(&entity, "paused").then_some(())
    })
    .await;

    // Of two that decided on the same version, the second is refused: theirs by their own constraint …
    let refused =
        store.commit(vec![Any(json!({ "paused": { "at": 1 } }))], stale, HashMap::new()).await;
    assert!(matches!(refused, Err(AggregateError::AggregateConflict)), "{refused:?}");
    // … and ours is decided anew on the stream with their event.
    let act = format!("/v1/entities/{id}/actions/resume");
    let resumed = client.send(Method::POST, &act, Some(&json!({})), &[]).await.expect("an answer");
    assert!(resumed.status.is_success(), "{:#}", resumed.body);
    assert_eq!(patch(client, &id, json!({ "size": 2 })).await, StatusCode::OK);
    let (listed, now) = versions(&pool, &id).await;
    assert!(listed == now && now > newest + 1, "{listed} {now}");

    // Every reader of the log gets it once, between the two.
    let page = client.get(&format!("/v1/events?after={last}&page_size=1000")).await.body;
    let items = page["items"].as_array().expect("events");
    let types: Vec<_> = items
        .iter()
        .filter(|event| event["stream"].as_str().is_some_and(|stream| stream.ends_with(&id)))
        .map(|event| text(&event["type"]))
        .collect();
    assert_eq!(types[..2], ["entity.paused", "entity.resumed"], "{items:#?}");

    let report =
        client.send(Method::POST, "/v1/audit/verify", None, &[]).await.expect("an answer").body;
    let faults = report["faults"].as_array().expect("faults");
    let unsealed: Vec<_> =
        faults.iter().filter(|fault| text(&fault["detail"]).contains("unsealed")).collect();
    assert_eq!(unsealed.len(), 1, "{report:#}");
    assert_eq!(unsealed[0]["stream"], format!("entity/{id}"));
    assert_eq!(unsealed[0]["version"], newest);
}

/// The details of the checks of projections that are not well.
async fn stops(client: &Client) -> Vec<String> {
    let ready = client.get("/readyz").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE, "{:#}", ready.body);
    let checks = ready.body["checks"].as_array().expect("checks").clone();
    let projections = checks
        .iter()
        .filter(|check| text(&check["name"]).starts_with("projection/") && check["ok"] == false);
    projections.map(|check| text(&check["detail"])).collect()
}

/// Both projections stop at the event, and readiness names its stream and type.
async fn stops_both(client: &Client, stream: &str) {
    until("both projections stop", async || {
        let ready = client.get("/readyz").await.body;
        let checks = ready["checks"].as_array().expect("checks").clone();
        let stopped = |name: &str| {
            let mut checks = checks.iter();
            checks
                .any(|check| check["name"] == format!("projection/{name}") && check["ok"] == false)
        };
        (stopped("entities") && stopped("sync_queue")).then_some(())
    })
    .await;
    let stops = stops(client).await;
    assert_eq!(stops.len(), 2, "{stops:?}");
    for stop in stops {
        assert!(stop.contains(stream) && stop.contains("Opened"), "{stop}");
    }
}

async fn unknown<A>(database: &Arc<Database>, id: Option<&str>, event: Value)
where
    A: Aggregate<Event = Any>,
{
    let world = World::start().await;
    let config = format!("[backends.sandbox]\ndriver = \"fake\"\nurl = \"{}\"\n", world.url);
    let (_setup, server) = served(database, &config).await;
    let client = &server.client;
    let declared = client.thing("theirs", json!({ "size": 1 })).await;
    let id = id.unwrap_or(&declared);
    let pool = PgPool::connect(&database.owner_url()).await.expect("connected");
    append(&store::<A>(&pool), id, event).await;
    stops_both(client, &format!("{}/{id}", A::TYPE)).await;
    // Whatever form it has, readers of the log get it.
    let page = client.get("/v1/events?page_size=1000").await;
    assert_eq!(page.status, StatusCode::OK, "{:#}", page.body);
    let items = page.body["items"].as_array().expect("events").clone();
    let theirs = items.iter().find(|event| event["type"] == "Opened").expect("their event");
    assert!(theirs["data"].is_object(), "{theirs:#}");
    // What comes behind it is accepted, and waits.
    let other = crate::harness::thing("waits", json!({ "size": 1 }));
    let reply =
        client.send(Method::POST, "/v1/entities", Some(&other), &[]).await.expect("an answer");
    assert_eq!(reply.status, StatusCode::ACCEPTED, "{:#}", reply.body);
    let waiting = text(&reply.body["entity"]["id"]);

    // The owner of the schema takes the row out; the nodes' role cannot.
    sqlx::query("DELETE FROM stateward.events WHERE event_type = 'Opened'")
        .execute(&pool)
        .await
        .expect("deleted");
    drop(server);
    let (_setup, server) = served(database, &config).await;
    server.client.reaches(&waiting, "ok").await;
    assert_eq!(server.client.get("/readyz").await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_an_unknown_type_in_a_stream_of_ours_stops_the_projections_and_is_named() {
    let Some(database) = Database::shared() else { return };
    unknown::<Theirs>(&database, None, json!("Opened")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_an_unknown_category_stops_the_projections_and_is_named() {
    let Some(database) = Database::shared() else { return };
    let event = json!({ "Opened": { "by": "another program" } });
    unknown::<Account>(&database, Some("of-another-program"), event).await;
}
