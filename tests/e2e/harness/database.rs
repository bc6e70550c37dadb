//! A database on PostgreSQL for the servers of one test, where `STATEWARD_TEST_STORE` asks for it.

use std::process::{Command, Stdio};
use std::sync::Arc;

use super::server::BINARY;
use crate::postgres_server::{MISSING, Server};
use crate::skip;

/// Role of the servers, which does not own the schema.
const ROLE: &str = "stateward";

/// A migrated database.
pub(crate) struct Database {
    server: &'static Server,
    name: String,
}

impl Database {
    /// A new one; `None` = the servers have the embedded store.
    pub(crate) fn wanted() -> Option<Self> {
        match std::env::var("STATEWARD_TEST_STORE").as_deref() {
            Err(_) | Ok("sqlite") => None,
            Ok("postgres") => Some(Self::new(Server::shared().expect(MISSING))),
            Ok(other) => panic!("STATEWARD_TEST_STORE: {other:?} is neither sqlite nor postgres"),
        }
    }

    /// A new one; `None`, and recorded as skipped, where PostgreSQL is missing.
    #[track_caller]
    pub(crate) fn shared() -> Option<Arc<Self>> {
        let server = Server::shared();
        if server.is_none() {
            skip::skipped(MISSING);
        }
        server.map(|server| Arc::new(Self::new(server)))
    }

    /// Its URL for the owner of its schema.
    pub(crate) fn owner_url(&self) -> String {
        self.server.url(&self.name)
    }

    fn new(server: &'static Server) -> Self {
        let name = format!("e{:x}", rand::random::<u64>());
        let role = format!(
            "DO $$ BEGIN CREATE ROLE {ROLE} LOGIN; \
             EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
        );
        server.execute("postgres", &role);
        server.execute("postgres", &format!("CREATE DATABASE {name}"));
        let migrated = Command::new(BINARY)
            .args(["migrate", "--url", &server.url(&name), "--role", ROLE])
            .stdin(Stdio::null())
            .output()
            .expect("the binary starts");
        let said = String::from_utf8_lossy(&migrated.stderr);
        assert!(migrated.status.success(), "migrate: {said}");
        Self { server, name }
    }

    /// The name of a copy of it as it is now. No server may use it.
    pub(crate) fn save(&self) -> String {
        let saved = format!("{}_saved", self.name);
        self.end_sessions();
        self.server.execute("postgres", &format!("CREATE DATABASE {saved} TEMPLATE {}", self.name));
        saved
    }

    /// Puts the copy `saved` in its place. `promoted`: as a standby that did not have everything, not as a copy.
    pub(crate) fn restore(&self, saved: &str, promoted: bool) {
        if promoted {
            let same = "UPDATE stateward.log SET database = (SELECT oid FROM pg_database WHERE datname = current_database())";
            self.server.execute(saved, same);
        }
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        self.server.execute("postgres", &drop);
        let rename = format!("ALTER DATABASE {saved} RENAME TO {}", self.name);
        self.server.execute("postgres", &rename);
    }

    /// Sets the clock that its sessions read so far ahead of this machine's.
    pub(crate) fn shift_clock(&self, seconds: i64) {
        let shift = format!(
            "CREATE OR REPLACE FUNCTION stateward_views.clock_or(given bigint) RETURNS bigint LANGUAGE sql VOLATILE AS \
             $$ SELECT coalesce(given, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + {seconds} * 1000000) $$"
        );
        self.server.execute(&self.name, &shift);
    }

    /// Runs a statement as the superuser.
    pub(crate) fn execute(&self, statement: &str) {
        self.server.execute(&self.name, statement);
    }

    fn end_sessions(&self) {
        let end = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'",
            self.name
        );
        self.server.execute("postgres", &end);
    }

    /// Its section of a configuration.
    pub(crate) fn section(&self) -> String {
        let url = self.server.url_of(ROLE, &self.name);
        format!("\n[store]\nurl = \"{url}\"\n")
    }
}
