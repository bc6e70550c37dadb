//! The pooler `pgbouncer` before the database: with a session for each client, and with one for each transaction or statement.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use stateward_store::postgres::{Database, Limits, OpenError, Target, migrate};

use super::{ROLE, TestDatabase, test_database};
use crate::postgres_server::{SUPERUSER, as_user, run};
use crate::skip;

const MISSING: &str = "PgBouncer is missing: apt-get install pgbouncer";
/// Where Debian has it, which is in the `PATH` of administrators only.
const DEBIAN: &str = "/usr/sbin/pgbouncer";
const START_MAX: Duration = Duration::from_secs(20);

/// A pooler on a socket; ended when dropped.
struct Pooler {
    process: Child,
    folder: tempfile::TempDir,
}

impl Drop for Pooler {
    fn drop(&mut self) {
        // It may have ended.
        let _ = (self.process.kill(), self.process.wait());
    }
}

impl Pooler {
    /// Starts it before the server of `database`, with these lines of configuration.
    async fn start(program: &Path, database: &TestDatabase, lines: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display();
        let server = database.server.folder.display();
        let settings = format!(
            "[databases]\n* = host={server} port=5432\n[pgbouncer]\nauth_type = any\nunix_socket_dir = {path}\n\
             listen_port = 5432\nignore_startup_parameters = extra_float_digits\n{lines}\n"
        );
        // Any client is the server's superuser: rights are not what this is about.
        let settings = settings.replace("port=5432\n[", &format!("port=5432 user={SUPERUSER}\n["));
        std::fs::write(folder.path().join("pgbouncer.ini"), settings).unwrap();
        run(std::process::Command::new("chmod").arg("-R").arg("a+rwX").arg(folder.path()));
        let process = as_user(program)
            .arg(folder.path().join("pgbouncer.ini"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (began, socket) = (Instant::now(), folder.path().join(".s.PGSQL.5432"));
        while tokio::net::UnixStream::connect(&socket).await.is_err() {
            assert!(began.elapsed() < START_MAX, "PgBouncer did not start: {lines}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self { process, folder }
    }

    fn target(&self, database: &TestDatabase) -> Target {
        let folder = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://{ROLE}@{folder}:5432/{}", database.name).parse().unwrap()
    }
}

/// `None`, and recorded as skipped, where it is missing.
#[track_caller]
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join("pgbouncer"))
        .chain([PathBuf::from(DEBIAN)])
        .find(|program| program.exists());
    if found.is_none() {
        skip::skipped(MISSING);
    }
    found
}

#[tokio::test]
async fn a_pooler_that_lends_sessions_for_a_transaction_is_refused_in_one_line() {
    let (Some(database), Some(program)) = (test_database(), program()) else { return };
    let database = database.await;
    for lines in [
        "pool_mode = transaction",
        "pool_mode = transaction\nserver_round_robin = 1",
        "pool_mode = transaction\ndefault_pool_size = 1",
        "pool_mode = statement",
    ] {
        let pooler = Pooler::start(&program, &database, lines).await;
        let connected = Database::connect(pooler.target(&database), "test", Limits::default());
        let Err(error) = connected.await else { panic!("connected: {lines}") };
        assert_eq!(error, OpenError::Pooler(database.name.clone()), "{lines}");
        assert!(!error.to_string().contains('\n'), "{error}");
        let error = migrate(&pooler.target(&database), None).await.unwrap_err();
        assert_eq!(error, OpenError::Pooler(database.name.clone()), "{lines}");
    }
}

#[tokio::test]
async fn a_pooler_that_keeps_a_session_for_each_client_is_used() {
    let (Some(database), Some(program)) = (test_database(), program()) else { return };
    let database = database.await;
    let pooler = Pooler::start(&program, &database, "pool_mode = session").await;
    let target = pooler.target(&database);
    migrate(&target, None).await.unwrap();
    let connected = Database::connect(target, "test", Limits::default()).await.unwrap();
    assert_eq!(connected.fault(), None);
    connected.close().await;
}
