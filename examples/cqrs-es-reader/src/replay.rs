//! Replays whole streams through postgres-es, and misses nothing without a word.
//!
//! `stream_events` of postgres-es 0.5 reads in a task of its own that panics at a lost connection and at a payload that
//! `serde_json` cannot read; its stream then ends as if there were no more. So the heads of all streams are read first,
//! and a stream that ends before its head is a fault.

use std::sync::{Mutex, PoisonError};

use cqrs_es::Aggregate as _;
use cqrs_es::persist::{EventUpcaster, PersistedEventRepository as _, PersistenceError};
use postgres_es::PostgresEventRepository;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, PgPool};

use crate::entity::Entity;
use crate::event::Event;
use crate::upcasters::upcasters;

/// Table of the log.
pub const EVENTS: &str = "stateward.events";

/// Why a replay ended. Each is one line.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The URL or the database.
    #[error("cannot read {EVENTS}: {}", line(.0))]
    Database(#[from] sqlx::Error),
    /// What postgres-es says.
    #[error("{stream}: event {sequence} cannot be read: {}", line(.source))]
    Unreadable {
        /// `entity/ID`.
        stream: String,
        /// The event's place.
        sequence: usize,
        /// Of the library.
        source: PersistenceError,
    },
    /// A newer Stateward, or another program, wrote it.
    #[error(
        "{stream}: event {sequence} is of a type or version that this reader does not know: {event_type} {event_version}"
    )]
    Unknown {
        /// `entity/ID`.
        stream: String,
        /// The event's place.
        sequence: usize,
        /// Its type.
        event_type: String,
        /// Its version.
        event_version: String,
    },
    /// An event is missing.
    #[error("{stream}: event {expected} is missing, {sequence} follows")]
    Gap {
        /// `entity/ID`.
        stream: String,
        /// The place without an event.
        expected: usize,
        /// The next one.
        sequence: usize,
    },
    /// The stream ended early.
    #[error("{stream}: only {read} of {head} events came: {why}")]
    Short {
        /// `entity/ID`.
        stream: String,
        /// Events that came.
        read: usize,
        /// Its last event.
        head: usize,
        /// What the library's task died of, if it is known.
        why: String,
    },
}

fn line(error: &impl std::fmt::Display) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What the last panic said.
static PANIC: Mutex<Option<String>> = Mutex::new(None);

/// Keeps what a panic says for [`Fault::Short`], instead of printing it. For programs whose output is read.
pub fn keep_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        *PANIC.lock().unwrap_or_else(PoisonError::into_inner) = text.as_ref().map(line);
    }));
}

/// A log that is read and never written: the server refuses every change of these connections.
pub struct Log {
    pool: PgPool,
    events: PostgresEventRepository,
    upcasters: Vec<Box<dyn EventUpcaster>>,
}

impl Log {
    /// # Errors
    /// [`Fault::Database`]: the URL is none, or no connection comes about.
    pub async fn open(url: &str) -> Result<Self, Fault> {
        let options: PgConnectOptions = url.parse()?;
        let options = options.options([("default_transaction_read_only", "on")]);
        // A pool tries again for half a minute, and then says only that it is late.
        options.connect().await?.close().await?;
        let pool = PgPoolOptions::new().max_connections(2).connect_with(options).await?;
        let events = PostgresEventRepository::new(pool.clone()).with_tables(EVENTS, "no_snapshots");
        Ok(Self { pool, events, upcasters: upcasters() })
    }

    /// The streams of all entities, by id, with the number of their last event. An event may be added right after.
    ///
    /// # Errors
    /// [`Fault::Database`]: the table is not there, or this role may not read it.
    pub async fn heads(&self) -> Result<Vec<(String, usize)>, Fault> {
        let heads = format!(
            "SELECT aggregate_id, max(sequence) FROM {EVENTS} WHERE aggregate_type = $1 \
             GROUP BY aggregate_id ORDER BY aggregate_id"
        );
        let rows: Vec<(String, i64)> =
            sqlx::query_as(&heads).bind(Entity::TYPE).fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(|(id, head)| (id, usize::try_from(head).unwrap_or(0))).collect())
    }

    /// Folds the stream of entity `id`, which has `head` events or more, and calls `seen` after each.
    ///
    /// # Errors
    /// Everything but [`Fault::Database`]; a prefix of the stream was seen.
    pub async fn replay(
        &self,
        id: &str,
        head: usize,
        mut seen: impl FnMut(&Entity),
    ) -> Result<Entity, Fault> {
        let stream = format!("{}/{id}", Entity::TYPE);
        let mut entity = Entity::default();
        let mut read = 0;
        let unreadable = |sequence, source| {
            let stream = stream.clone();
            Fault::Unreadable { stream, sequence, source }
        };
        let events = self.events.stream_events::<Entity>(id).await;
        let mut events = events.map_err(|source| unreadable(1, source))?;
        while let Some(event) = events.next::<Entity>(&self.upcasters).await {
            let event = event.map_err(|source| unreadable(read + 1, source))?;
            if event.sequence != read + 1 {
                let (expected, sequence) = (read + 1, event.sequence);
                return Err(Fault::Gap { stream, expected, sequence });
            }
            read = event.sequence;
            if let Event::Unknown { event_type, event_version } = event.payload {
                return Err(Fault::Unknown { stream, sequence: read, event_type, event_version });
            }
            cqrs_es::Aggregate::apply(&mut entity, event.payload);
            seen(&entity);
        }
        if read >= head {
            return Ok(entity);
        }
        let panic = PANIC.lock().unwrap_or_else(PoisonError::into_inner).take();
        let why = panic.unwrap_or_else(|| "the stream ended early".to_owned());
        Err(Fault::Short { stream, read, head, why })
    }
}
