//! Reads a source: first by position, for the chains, then by entity, for what follows from the events.

use stateward_domain::audit::{Checkpoint, Report, VerificationProgress};
use stateward_domain::id::Position;
use stateward_domain::ports::audit::ProgressFn;
use stateward_domain::ports::event_store::ReadError;
use stateward_domain::time::Timestamp;

use super::claim_check::{self, Claims};
use super::view_check::{Page, Views};
use super::{Chains, Checker, Row, Source, checkpoints};

/// Rows read at a time.
const PAGE: usize = 1_000;

/// Verifies everything. What is met is in the report; its time is left to the caller.
///
/// # Errors
/// When the source does not answer.
pub async fn verify(
    source: &dyn Source,
    against: Option<Checkpoint>,
    now: Timestamp,
    progress: ProgressFn<'_>,
) -> Result<Report, ReadError> {
    // Each event is read twice: by position, and by entity.
    let total = source.head().await?.minor.saturating_mul(2);
    let told = |done: u64| progress(VerificationProgress { done: done.min(total), total });
    told(0);
    let chains = chains(source, against, now, &told).await?;
    let Chains { mut faults, streams, checkpoint, newest, requests } = chains;
    for line in source.damage().await? {
        faults.general(stateward_domain::audit::FaultKind::File, line);
    }
    let mut claims = Claims::new(newest, source.claims_objects().await?);
    let mut views = Views::new(faults, newest);
    checkpoints::look(source, &mut views).await?;
    let mut after = String::new();
    loop {
        let page = Page::read(source, &after).await?;
        let until = page.until();
        let done = |done| told(checkpoint.count + done);
        views = views.compare(source, &mut claims, page, &after, &done).await?;
        match until {
            Some(id) => after = id,
            None => break,
        }
    }
    checkpoints::settle(source, &mut views).await?;
    let Views { mut faults, entities, notes, .. } = views;
    for fault in source.gathered().await? {
        faults.add(fault);
    }
    claims.look(source, &claim_check::of_requests(&claims, requests, &faults)).await?;
    claims.end(source, &mut faults).await?;
    progress(VerificationProgress { done: total, total });
    Ok(Report {
        ok: faults.count() == 0,
        events: checkpoint.count,
        streams,
        entities,
        fault_count: faults.count(),
        faults: faults.into_told(),
        notes,
        checkpoint,
        elapsed_ms: 0,
    })
}

/// The chains alone: hashes, versions, positions, times, and the checkpoint.
///
/// # Errors
/// When the source does not answer.
pub async fn chains(
    source: &dyn Source,
    against: Option<Checkpoint>,
    now: Timestamp,
    done: &(dyn Fn(u64) + Send + Sync),
) -> Result<Chains, ReadError> {
    let until = source.head().await?.minor;
    let mut checker = Checker::new(source.identity(), against);
    let mut page = source.rows(0, until, PAGE).await?;
    let mut count = 0;
    while let Some(last) = page.last().map(|row| position(row).minor) {
        count += page.len() as u64;
        let check = move || {
            for row in &page {
                checker.take(row);
            }
            checker
        };
        // One page is hashed while the next one is read.
        let (taken, next) = tokio::join!(aside(check), source.rows(last, until, PAGE));
        (checker, page) = (taken?, next?);
        done(count);
    }
    Ok(checker.finish(now))
}

/// Runs what keeps a processor busy where it holds nobody up.
pub(super) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ReadError> {
    let gone = |_| ReadError::Unavailable("the verification broke off".to_owned());
    tokio::task::spawn_blocking(work).await.map_err(gone)
}

const fn position(row: &Row) -> Position {
    match row {
        Ok(event) => event.position,
        Err(row) => row.position,
    }
}
