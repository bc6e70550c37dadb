//! Group commit: the one task of a process that writes the log. Whatever queued during one commit goes into the next:
//! no timer, and under load many appends share one commit.
//!
//! Invariants: a batch has at most one append per stream and per claim key; appends that share one are committed in
//! order of arrival; an append that cannot be written fails alone.

use std::collections::{HashSet, VecDeque};
use std::future::Future;

use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::envelope::StreamId;
use stateward_domain::ports::event_store::{Append, AppendError};
use stateward_domain::ports::store_error::StoreError;
use tokio::sync::{mpsc, oneshot};

use crate::shared::chain::Outcome;

/// Appends that queue, at most; further callers wait for a place.
const QUEUE: usize = 4_096;
/// Events of one batch, at most; a larger append is a batch of its own.
const BATCH_EVENTS: usize = 512;
/// Times that a contended batch is tried, before its appends are tried one by one.
const TRIES: usize = 3;

/// Why none of a batch's appends has a result of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BatchError {
    /// Nothing was written: another writer came in between. The same batch may fit now.
    Contended(AppendError),
    /// Nothing was written: the store rejected the batch, perhaps for one append in it.
    Rejected(AppendError),
    /// Another try is pointless or forbidden: the outcome is unknown, or the store can write nothing more.
    Final(AppendError),
}

impl BatchError {
    fn into_inner(self) -> AppendError {
        let (Self::Contended(error) | Self::Rejected(error) | Self::Final(error)) = self;
        error
    }
}

/// The statements of a log: what the group commit runs on. One task owns it.
pub(crate) trait CommitBatch: Send + 'static {
    /// Commits those of `appends` that fit, in one transaction; no two of them share a stream or a claim key. One
    /// result for each, in order. Events are visible to readers of this process before it returns.
    fn commit(
        &mut self,
        appends: &[Append],
    ) -> impl Future<Output = Result<Vec<Outcome>, BatchError>> + Send;

    /// Deletes idempotency claims that were taken before this steady time, in microseconds; returns their number.
    fn forget_claims_before(
        &mut self,
        before: i64,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Releases the log; nothing is written after it.
    fn close(self) -> impl Future<Output = ()> + Send;
}

enum Job {
    Append(PendingAppend),
    Forget { before: i64, reply: oneshot::Sender<Result<u64, StoreError>> },
    Close { reply: oneshot::Sender<()> },
}

struct PendingAppend {
    append: Append,
    reply: oneshot::Sender<Outcome>,
}

/// Sends appends to the group commit. Cheap to clone.
#[derive(Clone)]
pub(crate) struct GroupCommitHandle {
    jobs: mpsc::Sender<Job>,
}

impl GroupCommitHandle {
    /// Appends; the outcome is unknown when the future is dropped.
    pub(crate) async fn append(&self, append: Append) -> Outcome {
        let gone = || StoreError::fatal("the writer is gone");
        if append.events.is_empty() {
            return Err(StoreError::unavailable("an append needs an event").into());
        }
        let (reply, outcome) = oneshot::channel();
        self.jobs.send(Job::Append(PendingAppend { append, reply })).await.map_err(|_| gone())?;
        outcome.await.unwrap_or(Err(AppendError::OutcomeUnknown))
    }

    /// As [`CommitBatch::forget_claims_before`].
    pub(crate) async fn forget_claims_before(&self, before: i64) -> Result<u64, StoreError> {
        let gone = || StoreError::fatal("the writer is gone");
        let (reply, outcome) = oneshot::channel();
        self.jobs.send(Job::Forget { before, reply }).await.map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?
    }

    /// Commits what is queued and releases the log. Idempotent.
    pub(crate) async fn close(&self) {
        let (reply, done) = oneshot::channel();
        if self.jobs.send(Job::Close { reply }).await.is_ok() {
            // An error means that it is closed already.
            let _ = done.await;
        }
    }
}

/// Starts the task that writes through `log`. It ends with the last handle, or at [`GroupCommitHandle::close`].
pub(crate) fn spawn(log: impl CommitBatch) -> GroupCommitHandle {
    let (jobs, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(run(log, receiver));
    GroupCommitHandle { jobs }
}

async fn run(mut log: impl CommitBatch, mut jobs: mpsc::Receiver<Job>) {
    let mut waiting = VecDeque::new();
    loop {
        let job = if waiting.is_empty() { jobs.recv().await } else { jobs.try_recv().ok() };
        match job {
            Some(Job::Append(append)) => {
                waiting.push_back(append);
                // Appends that are queued already join this commit.
                if waiting.len() < BATCH_EVENTS && !jobs.is_empty() {
                    continue;
                }
            }
            Some(Job::Forget { before, reply }) => {
                // The caller may have stopped waiting.
                let _ = reply.send(log.forget_claims_before(before).await);
            }
            Some(Job::Close { reply }) => {
                jobs.close();
                while !waiting.is_empty() {
                    write_batch(&mut log, &mut waiting).await;
                }
                log.close().await;
                let _ = reply.send(());
                return;
            }
            None if waiting.is_empty() => return,
            None => {}
        }
        write_batch(&mut log, &mut waiting).await;
    }
}

/// Writes the next batch of the queued appends.
async fn write_batch(log: &mut impl CommitBatch, waiting: &mut VecDeque<PendingAppend>) {
    let batch = next_batch(waiting, |pending| &pending.append);
    if batch.is_empty() {
        return;
    }
    let (appends, replies): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|pending| (pending.append, pending.reply)).unzip();
    crate::failpoints::reach("store::append::before");
    let outcomes = commit(log, &appends).await;
    crate::failpoints::reach("store::append::after");
    for (reply, outcome) in replies.into_iter().zip(outcomes) {
        // The caller may have stopped waiting; its events are in the log all the same.
        let _ = reply.send(outcome);
    }
}

/// Takes the next batch from the queue. An append that has to wait blocks its stream and its claim keys too, so that
/// the order is kept.
fn next_batch<T>(waiting: &mut VecDeque<T>, append_of: impl Fn(&T) -> &Append) -> Vec<T> {
    let mut streams: HashSet<StreamId> = HashSet::new();
    let mut keys: HashSet<ClaimKey> = HashSet::new();
    let mut events = 0;
    let (mut batch, mut later) = (Vec::new(), VecDeque::new());
    for one in waiting.drain(..) {
        let append = append_of(&one);
        let clash = streams.contains(&append.stream)
            || append.claims.iter().any(|claim| keys.contains(claim.key()));
        streams.insert(append.stream.clone());
        keys.extend(append.claims.iter().map(|claim| claim.key().clone()));
        let fits = batch.is_empty() || events + append.events.len() <= BATCH_EVENTS;
        if clash || !fits {
            later.push_back(one);
        } else {
            events += append.events.len();
            batch.push(one);
        }
    }
    *waiting = later;
    batch
}

/// Commits a batch: as a whole, again while it is contended, at last one by one. Each append gets a result.
async fn commit(log: &mut impl CommitBatch, appends: &[Append]) -> Vec<Outcome> {
    match commit_whole(log, appends).await {
        Ok(outcomes) => outcomes,
        Err(BatchError::Contended(_) | BatchError::Rejected(_)) if appends.len() > 1 => {
            let mut outcomes = Vec::with_capacity(appends.len());
            for append in appends {
                outcomes.extend(match commit_whole(log, std::slice::from_ref(append)).await {
                    Ok(alone) => alone,
                    Err(error) => vec![Err(error.into_inner())],
                });
            }
            outcomes
        }
        Err(error) => vec![Err(error.into_inner()); appends.len()],
    }
}

/// Commits these appends together, with [`TRIES`] tries while they are contended.
async fn commit_whole(
    log: &mut impl CommitBatch,
    appends: &[Append],
) -> Result<Vec<Outcome>, BatchError> {
    let mut outcome = log.commit(appends).await;
    for _ in 1..TRIES {
        if !matches!(outcome, Err(BatchError::Contended(_))) {
            break;
        }
        outcome = log.commit(appends).await;
    }
    outcome
}

#[cfg(test)]
mod tests;
