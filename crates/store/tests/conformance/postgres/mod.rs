//! The store on PostgreSQL: a database for each test, and what only this adapter has to promise.

mod audit;
mod clock_steps;
mod concurrency;
mod copies;
mod epochs;
mod leases;
mod members;
mod nodes;
mod open;
mod outages;
mod own_server;
mod poolers;
mod races;
mod read_models;

use std::sync::Arc;

use sqlx::postgres::PgPool;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use stateward_domain::time::ManualClock;
use stateward_store::postgres::{Database, Limits, Log, Target, migrate};

use crate::postgres_server::{MISSING, Server};
use crate::skip;

/// Role of the processes under test, which does not own the schema.
pub(crate) const ROLE: &str = "stateward";

/// A migrated database of a test.
pub(crate) struct TestDatabase {
    pub server: &'static Server,
    pub name: String,
}

/// An empty log; `None`, and recorded as skipped, where PostgreSQL is missing.
#[track_caller]
pub(crate) fn test_database() -> Option<impl Future<Output = TestDatabase>> {
    let server = Server::shared();
    if server.is_none() {
        skip::skipped(MISSING);
    }
    server.map(TestDatabase::migrated)
}

impl TestDatabase {
    async fn migrated(server: &'static Server) -> Self {
        let database = Self::empty(server).await;
        let owner: Target = server.url(&database.name).parse().unwrap();
        migrate(&owner, Some(ROLE)).await.unwrap();
        database
    }

    /// A database without a schema.
    pub(crate) async fn empty(server: &'static Server) -> Self {
        let id: u64 = rand::random();
        let name = format!("t{id:x}");
        let mut owner = PgConnection::connect(&server.url("postgres")).await.unwrap();
        let role = format!(
            "DO $$ BEGIN CREATE ROLE {ROLE} LOGIN; \
             EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
        );
        sqlx::query(AssertSqlSafe(role)).execute(&mut owner).await.unwrap();
        let create = format!("CREATE DATABASE {name}");
        sqlx::query(AssertSqlSafe(create)).execute(&mut owner).await.unwrap();
        owner.close().await.unwrap();
        Self { server, name }
    }

    /// Connections as a node of stateward has them.
    pub(crate) async fn connect(&self) -> Database {
        let target: Target = self.server.url_of(ROLE, &self.name).parse().unwrap();
        Database::connect(target, "test", Limits::default()).await.unwrap()
    }

    /// The log, as one more node opens it.
    pub(crate) async fn log(&self, clock: Arc<ManualClock>) -> Log {
        Log::open(self.connect().await, clock).await.unwrap()
    }

    /// Connections of the schema's owner, for what stands beside stateward.
    pub(crate) async fn owner(&self) -> PgPool {
        PgPool::connect(&self.server.url(&self.name)).await.unwrap()
    }
}
