//! The code of `docs/recipes/read-with-cqrs-es.md`: `one-entity URL ID` prints one entity as it is.

// recipe: begin
use cqrs_es::{Aggregate as _, EventStore as _, persist::PersistedEventStore};
use cqrs_es_reader::{entity::Entity, event::Event, upcasters::upcasters};
use postgres_es::{PostgresEventRepository, default_postgress_pool};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [url, id]: [String; 2] = std::env::args().skip(1).collect::<Vec<_>>().try_into().unwrap();
    let pool = default_postgress_pool(&url).await;
    // The name of a table for snapshots, which is never used.
    let log = PostgresEventRepository::new(pool).with_tables("stateward.events", "none");
    let store = PersistedEventStore::<_, Entity>::new_event_store(log).with_upcasters(upcasters());
    let mut entity = Entity::default();
    for event in store.load_events(&id).await? {
        if let Event::Unknown { event_type, event_version } = event.payload {
            return Err(format!("event {}: {event_type} {event_version}", event.sequence).into());
        }
        entity.apply(event.payload);
    }
    println!("{}/{} is {}", entity.kind, entity.name, entity.state);
    Ok(())
}
// recipe: end
