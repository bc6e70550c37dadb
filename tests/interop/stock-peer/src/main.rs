//! A service as the book of cqrs-es shows it: actix-web in front, `PersistedEventStore` on postgres-es behind, one view.
//! `stateward bench --store postgres` compares with it; README.md says how to run it alone.
//!
//! A create is: load the aggregate (SELECT), handle, commit (BEGIN, INSERT, COMMIT), then the view (SELECT, INSERT).
//! Nothing here is tuned, and nothing is left out that the book has.

mod thing;

use std::collections::HashMap;
use std::sync::Arc;

use actix_web::{App, HttpResponse, HttpServer, web};
use cqrs_es::AggregateError;
use cqrs_es::persist::{GenericQuery, ViewRepository as _};
use postgres_es::{PostgresCqrs, PostgresViewRepository, postgres_cqrs};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;

use thing::{Command, Refused, Thing, ThingView};

/// As in `db/init.sql` of postgres-es 0.5, with the view's table.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS events (
    aggregate_type text NOT NULL, aggregate_id text NOT NULL, sequence bigint CHECK (sequence >= 0) NOT NULL,
    event_type text NOT NULL, event_version text NOT NULL, payload json NOT NULL, metadata json NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id, sequence));
CREATE TABLE IF NOT EXISTS thing_view (
    view_id text NOT NULL, version bigint CHECK (version >= 0) NOT NULL, payload json NOT NULL,
    PRIMARY KEY (view_id));
";

type Views = PostgresViewRepository<ThingView, Thing>;

struct Service {
    cqrs: PostgresCqrs<Thing>,
    views: Arc<Views>,
}

#[derive(Deserialize)]
struct Create {
    name: String,
    desired: Value,
}

#[derive(Deserialize)]
struct Change {
    desired: Value,
}

async fn execute(service: &Service, id: &str, command: Command) -> HttpResponse {
    let metadata = HashMap::from([("actor_type".to_owned(), "user".to_owned())]);
    match service.cqrs.execute_with_metadata(id, command, metadata).await {
        Ok(()) => HttpResponse::Accepted().json(json!({ "id": id })),
        Err(AggregateError::UserError(Refused::Exists | Refused::Missing)) => {
            HttpResponse::Conflict().finish()
        }
        Err(AggregateError::AggregateConflict) => HttpResponse::Conflict().finish(),
        Err(error) => HttpResponse::InternalServerError().body(error.to_string()),
    }
}

async fn create(service: web::Data<Service>, body: web::Json<Create>) -> HttpResponse {
    let Create { name, desired } = body.into_inner();
    let id = uuid::Uuid::new_v4().to_string();
    execute(&service, &id, Command::Create { name, desired }).await
}

async fn change(
    service: web::Data<Service>,
    id: web::Path<String>,
    body: web::Json<Change>,
) -> HttpResponse {
    let Change { desired } = body.into_inner();
    execute(&service, &id, Command::Change { desired }).await
}

async fn show(service: web::Data<Service>, id: web::Path<String>) -> HttpResponse {
    match service.views.load(&id).await {
        Ok(Some(view)) => HttpResponse::Ok().json(view),
        Ok(None) => HttpResponse::NotFound().finish(),
        Err(error) => HttpResponse::InternalServerError().body(error.to_string()),
    }
}

fn usage() -> std::io::Error {
    std::io::Error::other(
        "usage: stock-peer URL ADDRESS POOL, such as postgres://me@localhost/peer 127.0.0.1:8430 16",
    )
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let arguments: [String; 3] =
        std::env::args().skip(1).collect::<Vec<_>>().try_into().map_err(|_| usage())?;
    let [url, address, size] = arguments;
    let size = size.parse().map_err(|_| usage())?;
    let pool = PgPoolOptions::new().max_connections(size).connect(&url).await;
    let pool = pool.map_err(std::io::Error::other)?;
    sqlx::raw_sql(TABLES).execute(&pool).await.map_err(std::io::Error::other)?;
    let views = Arc::new(Views::new("thing_view", pool.clone()));
    let mut query = GenericQuery::new(Arc::clone(&views));
    query.use_error_handler(Box::new(|error| eprintln!("the view failed: {error}")));
    let cqrs = postgres_cqrs(pool, vec![Box::new(query)], ());
    let service = web::Data::new(Service { cqrs, views });
    let server = HttpServer::new(move || {
        App::new()
            .app_data(service.clone())
            .route("/things", web::post().to(create))
            .route("/things/{id}", web::put().to(change))
            .route("/things/{id}", web::get().to(show))
    })
    .bind(&address)?;
    for address in server.addrs() {
        println!("http://{address}");
    }
    server.run().await
}
