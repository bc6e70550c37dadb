//! What the group commit runs on: one call of `append_v1` a batch.
//!
//! Invariants: a batch is written whole or not at all. An append is answered `Conflict` or `ClaimTaken` only by what was
//! read from the log. After an error that leaves the outcome open nothing is decided anew: the caller sends the same
//! append again, which is recognised by the ids of its events.

use std::sync::Arc;

use sqlx::postgres::{PgArguments, PgDatabaseError};
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::id::{Position, Version};
use stateward_domain::ports::event_store::{Append, AppendError, Appended};
use stateward_domain::ports::store_error::StoreError;
use stateward_domain::time::LogClock;
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

use super::batch::{self, BLOCK};
use super::conflicts::{self, Stored};
use super::forget_claims_before;
use super::reader::LogReader;
use crate::postgres::connect::Database;
use crate::postgres::error::{ErrorClass, classify, message};
use crate::postgres::seen_events::SeenEvent;
use crate::postgres::standby_barrier::StandbyBarrier;
use crate::shared::chain::{self, Admission, Outcome, StreamHeads};
use crate::shared::group_commit::{BatchError, CommitBatch};

/// Events of one append, at most: a batch has to fit into a block of positions.
const EVENTS_MAX: usize = 1_000;
/// Appends that wait for the server beyond the deadline of their callers, at most. The server goes on with each of them,
/// whether or not its connection is there, so no more are sent meanwhile.
const LATE_MAX: usize = 4;

/// The writer of a process.
pub(super) struct LogWriter {
    database: Database,
    clock: LogClock,
    heads: StreamHeads,
    epoch: u32,
    reader: LogReader,
    /// Wakes the task that notifies other processes.
    appended: Arc<Notify>,
    late: Arc<Semaphore>,
    barrier: StandbyBarrier,
}

/// Why a batch was not written.
enum WriteError {
    /// It does not fit: what the node knew of a stream or a claim is stale.
    Stale(String),
    /// Everything else.
    Batch(BatchError),
}

impl LogWriter {
    pub(super) fn new(
        database: Database,
        clock: LogClock,
        reader: LogReader,
        epoch: u32,
        appended: Arc<Notify>,
        barrier: StandbyBarrier,
    ) -> Self {
        let (heads, late) = (StreamHeads::default(), Arc::new(Semaphore::new(LATE_MAX)));
        Self { database, clock, heads, epoch, reader, appended, late, barrier }
    }

    /// Writes those of `appends` that fit by what is known and, if it was read, by what is stored.
    async fn write(
        &mut self,
        appends: &[Append],
        stored: Option<&Stored>,
    ) -> Result<Vec<Outcome>, WriteError> {
        let now = self.clock.moment().log;
        let (mut sealed, mut accepted) = (Vec::new(), Vec::new());
        // Result of each append; of one that fits, the number of its last event in the batch.
        let mut planned: Vec<Result<u64, Outcome>> = Vec::with_capacity(appends.len());
        for append in appends {
            let before = self.heads.of(&append.stream);
            let holder = |key: &_| stored.and_then(|stored| stored.holder(key));
            planned.push(match chain::admit(append, before, holder) {
                Admission::Moved(conflict) => {
                    let repeated = stored.and_then(|stored| stored.repeated(append, self.epoch));
                    Err(repeated.ok_or(conflict))
                }
                Admission::Refused(refusal) => Err(Err(refusal)),
                Admission::Fits => {
                    accepted.push((append, chain::seal(append, before, now, &mut sealed)));
                    Ok(sealed.len() as u64 - 1)
                }
            });
        }
        let block = if accepted.is_empty() {
            // What is written commits later than what was found.
            if planned.iter().any(is_answered_by_what_was_found) {
                let passed = self.barrier.pass().await;
                passed.map_err(|_| {
                    WriteError::Batch(BatchError::Final(AppendError::OutcomeUnknown))
                })?;
            }
            0
        } else {
            let arguments = batch::arguments(&accepted, &sealed, now);
            let arguments = arguments.map_err(|error| write_error(&error, appends.len()))?;
            self.send(arguments, appends.len()).await?
        };
        for (append, head) in &accepted {
            self.heads.record(append.stream.clone(), *head);
        }
        if !accepted.is_empty() {
            let seen = sealed.iter().zip(block * BLOCK..).map(|(event, position)| SeenEvent {
                position,
                id: event.event.id.0,
                hash: event.hash,
                recorded_at: event.recorded_at,
            });
            self.database.remember(seen);
            self.database.counters().committed(sealed.len());
            self.reader.learn(block * BLOCK + sealed.len() as u64 - 1);
            self.reader.hint();
            self.appended.notify_one();
        }
        let outcome = |(append, planned): (&Append, Result<u64, Outcome>)| match planned {
            Err(outcome) => outcome,
            Ok(place) => {
                let minor = block * BLOCK + place;
                let version = append.expected.0 + append.events.len() as u64;
                let position = Position { epoch: self.epoch, major: 0, minor };
                Ok(Appended { version: Version(version), position })
            }
        };
        Ok(appends.iter().zip(planned).map(outcome).collect())
    }

    /// Sends a batch of `count` appends; returns its block of positions. A call that takes longer than a statement may is
    /// left to itself: it goes on, and its outcome is unknown.
    async fn send(&mut self, arguments: PgArguments, count: usize) -> Result<u64, WriteError> {
        let late = || StoreError::unavailable("the server does not end the appends that it has");
        let Ok(permit) = Arc::clone(&self.late).try_acquire_owned() else {
            return Err(WriteError::Batch(BatchError::Final(late().into())));
        };
        let session = self.database.session().await;
        let mut session =
            session.map_err(|error| WriteError::Batch(BatchError::Final(error.into())))?;
        let sent = tokio::spawn(async move {
            let append = sqlx::query_as_with(batch::APPEND, arguments);
            let answer: Result<(i64,), _> = session.fetch_one_patiently(append).await;
            drop(permit);
            answer
        });
        let answer = timeout(self.database.statement_limit(), sent).await;
        let unknown = || WriteError::Batch(BatchError::Final(AppendError::OutcomeUnknown));
        // Cached heads stay as they are: one that is stale is refused when it is written, and read then.
        match answer {
            Ok(Ok(Ok((block,)))) => u64::try_from(block).map_err(|_| unknown()),
            Ok(Ok(Err(error))) => Err(write_error(&error, count)),
            Ok(Err(_)) | Err(_) => Err(unknown()),
        }
    }
}

impl CommitBatch for LogWriter {
    async fn commit(&mut self, appends: &[Append]) -> Result<Vec<Outcome>, BatchError> {
        if let [append] = appends
            && append.events.len() > EVENTS_MAX
        {
            let error = format!("an append has at most {EVENTS_MAX} events");
            return Ok(vec![Err(StoreError::unavailable(error).into())]);
        }
        self.heads.bound();
        // Optimistic path: heads that this process wrote are the newest, streams that begin do not exist, claims are free.
        if self.heads.cover(appends) {
            match self.write(appends, None).await {
                Ok(outcomes) => return Ok(outcomes),
                Err(WriteError::Batch(error)) => return Err(error),
                Err(WriteError::Stale(_)) => {}
            }
        }
        let stored = conflicts::read(&self.database, appends).await;
        let stored = stored.map_err(|error| BatchError::Final(error.into()))?;
        for append in appends {
            self.heads.record(append.stream.clone(), stored.head(&append.stream));
        }
        match self.write(appends, Some(&stored)).await {
            Ok(outcomes) => Ok(outcomes),
            Err(WriteError::Batch(error)) => Err(error),
            // Another process came in between.
            Err(WriteError::Stale(why)) => {
                Err(BatchError::Contended(StoreError::unavailable(why).into()))
            }
        }
    }

    async fn forget_claims_before(&mut self, before: i64) -> Result<u64, StoreError> {
        forget_claims_before(&self.database, before).await
    }

    async fn close(self) {}
}

/// Whether the caller takes the result for its own: a repetition by ids, or by key.
fn is_answered_by_what_was_found(planned: &Result<u64, Outcome>) -> bool {
    match planned {
        Err(Ok(_)) => true,
        Err(Err(AppendError::ClaimTaken { key, .. })) => key.0.starts_with(ClaimKey::IDEMPOTENCY),
        Ok(_) | Err(Err(_)) => false,
    }
}

/// What the server's error of a batch of `count` appends means.
fn write_error(error: &sqlx::Error, count: usize) -> WriteError {
    let why = message(error);
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    let constraint = error
        .as_database_error()
        .and_then(|error| error.try_downcast_ref::<PgDatabaseError>())
        .and_then(PgDatabaseError::constraint);
    decide(classify(error), code.as_deref().unwrap_or_default(), constraint, count, why)
}

fn decide(
    class: ErrorClass,
    code: &str,
    constraint: Option<&str>,
    count: usize,
    why: String,
) -> WriteError {
    let unavailable = |why: String| AppendError::from(StoreError::unavailable(why));
    WriteError::Batch(match (class, code, constraint) {
        // Raised by append_v1; or another program wrote a stream without it.
        (_, "SW001" | "SW002", _) | (ErrorClass::Unique, _, Some("events_of_stream")) => {
            return WriteError::Stale(why);
        }
        (_, "SW003", _) => BatchError::Final(StoreError::fatal(why).into()),
        (ErrorClass::Unique, _, Some("events_pkey")) => {
            let why = "the sequence stateward.blocks is behind the log: set it with setval";
            BatchError::Final(StoreError::fatal(why).into())
        }
        // A lock that another program holds: the others of the batch are tried alone, and it is given up.
        (ErrorClass::Contended, "55P03", _) if count == 1 => BatchError::Final(unavailable(why)),
        (ErrorClass::Contended, "55P03", _) | (ErrorClass::Refused, ..) => {
            BatchError::Rejected(unavailable(why))
        }
        (ErrorClass::Contended | ErrorClass::Unique, ..) => BatchError::Contended(unavailable(why)),
        (ErrorClass::Exhausted | ErrorClass::ReadOnly, ..) => BatchError::Final(unavailable(why)),
        (ErrorClass::Lost | ErrorClass::Undecodable, ..) => {
            BatchError::Final(AppendError::OutcomeUnknown)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(error: WriteError) -> &'static str {
        match error {
            WriteError::Stale(_) => "stale",
            WriteError::Batch(BatchError::Contended(_)) => "contended",
            WriteError::Batch(BatchError::Rejected(_)) => "rejected",
            WriteError::Batch(BatchError::Final(AppendError::OutcomeUnknown)) => "unknown",
            WriteError::Batch(BatchError::Final(AppendError::Store(error))) => {
                if error.is_temporary() { "final" } else { "fatal" }
            }
            WriteError::Batch(BatchError::Final(_)) => "other",
        }
    }

    #[test]
    fn every_error_of_a_batch_has_one_consequence() {
        for (class, code, constraint, count, consequence) in [
            (ErrorClass::Refused, "SW001", None, 2, "stale"),
            (ErrorClass::Refused, "SW002", None, 1, "stale"),
            (ErrorClass::Refused, "SW003", None, 1, "fatal"),
            (ErrorClass::Unique, "23505", Some("events_of_stream"), 2, "stale"),
            (ErrorClass::Unique, "23505", Some("events_pkey"), 2, "fatal"),
            (ErrorClass::Unique, "23505", Some("claims_pkey"), 2, "contended"),
            (ErrorClass::Contended, "40P01", None, 1, "contended"),
            (ErrorClass::Contended, "40001", None, 1, "contended"),
            (ErrorClass::Contended, "53200", None, 1, "contended"),
            (ErrorClass::Contended, "55P03", None, 2, "rejected"),
            (ErrorClass::Contended, "55P03", None, 1, "final"),
            (ErrorClass::Refused, "22021", None, 2, "rejected"),
            (ErrorClass::Exhausted, "53100", None, 2, "final"),
            (ErrorClass::ReadOnly, "25006", None, 2, "final"),
            (ErrorClass::Lost, "57P01", None, 2, "unknown"),
            (ErrorClass::Lost, "", None, 1, "unknown"),
            (ErrorClass::Undecodable, "", None, 1, "unknown"),
        ] {
            let found = name(decide(class, code, constraint, count, String::new()));
            assert_eq!(found, consequence, "{class:?} {code} {constraint:?} {count}");
        }
    }
}
