//! The store of one database as a bundle of ports.

use std::sync::Arc;

use async_trait::async_trait;
use stateward_domain::ports::audit::RestoreHold;
use stateward_domain::ports::event_store::ReadError;
use stateward_domain::ports::store_error::StoreError;
use stateward_domain::ports::store_ports::StorePorts;
use stateward_domain::time::LogClock;

use super::audit::Auditor;
use super::clock_skew;
use super::cluster::Members;
use super::connect::Database;
use super::error::OpenError;
use super::health::Health;
use super::lease_clock::LeaseClock;
use super::limits::Limits;
use super::log::Log;
use super::queue::Queue;
use super::target::Target;
use super::views::Entities;
use crate::opened::{Broken, Opened, StoreLifetime};

/// How a process uses a database.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The database.
    pub target: Target,
    /// Name of the process, which the server lists as `stateward/NAME`.
    pub node: String,
    /// Limits of its connections.
    pub limits: Limits,
}

impl Settings {
    /// `target` with default limits, as a process without a name of its own.
    #[must_use]
    pub fn of(target: Target) -> Self {
        Self { target, node: "node".to_owned(), limits: Limits::default() }
    }
}

/// Opens the migrated store that `settings` name. `clock` continues from the newest time in the log.
///
/// # Errors
/// [`OpenError`] in one line; nothing was changed but the epoch of a log that was moved.
pub async fn open(settings: &Settings, clock: LogClock) -> Result<Opened, OpenError> {
    let Settings { target, node, limits } = settings;
    let database = Database::connect(target.clone(), node, *limits).await?;
    let log = Arc::new(Log::open(database.clone(), clock.clone()).await?);
    let failed = |error: StoreError| OpenError::Database {
        database: database.name().to_owned(),
        message: error.to_string(),
    };
    if let Some(skew) = clock_skew::read(&database, &clock).await.map_err(failed)?.refusal() {
        return Err(OpenError::Clock { database: database.name().to_owned(), skew });
    }
    let entities = Arc::new(Entities::open(database.clone()).await.map_err(failed)?);
    let life = log.identity().life();
    let auditor = Auditor::new(database.clone(), log.identity(), Arc::new(clock.clone()));
    let ports = StorePorts {
        log: log.clone(),
        queue: Arc::new(Queue::new(database.clone(), clock.clone(), LeaseClock::Database)),
        models: vec![entities.clone()],
        views: entities,
        auditor: Arc::new(auditor),
        restore_hold: Arc::new(RestoreHoldRow { database: database.clone() }),
        cluster: Arc::new(Members::new(database.clone(), LeaseClock::Database)),
        health: Arc::new(Health::new(database.clone()).with_clock(clock)),
    };
    let lifetime = Box::new(Lifetime { database, log });
    Ok(Opened { ports, life, lifetime })
}

/// The mark of a restored log, in the log's row.
struct RestoreHoldRow {
    database: Database,
}

#[async_trait]
impl RestoreHold for RestoreHoldRow {
    async fn clear(&self) -> Result<(), ReadError> {
        let clear = sqlx::query("UPDATE stateward.log SET put_back = false WHERE put_back");
        Ok(self.database.execute(clear).await.map(drop)?)
    }
}

/// The end of a process's use of a database.
struct Lifetime {
    database: Database,
    log: Arc<Log>,
}

#[async_trait]
impl StoreLifetime for Lifetime {
    /// A lost database is found again, unless the log began another epoch.
    async fn broken(&self) -> Broken {
        Broken::Unwritable(self.database.superseded().await)
    }

    fn in_place(&self) -> Result<(), Broken> {
        Ok(())
    }

    async fn close(&self) {
        self.log.close().await;
        self.database.close().await;
    }
}
