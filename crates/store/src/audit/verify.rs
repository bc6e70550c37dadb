//! Runs a verification: by position for the chains, then by entity for everything that follows from the events.

use stateward_domain::audit::{Checkpoint, Report, VerificationProgress};
use stateward_domain::id::Position;
use stateward_domain::ports::audit::ProgressFn;
use stateward_domain::ports::event_store::ReadError;
use stateward_domain::time::Timestamp;

use super::blocking::run_blocking;
use super::claim_check::{self, ClaimCheck};
use super::view_check::{EntityPage, ViewCheck};
use super::{AuditSource, ChainChecker, Chains, RawRow, checkpoints};

/// Rows read at a time.
const PAGE: usize = 1_000;

/// Verifies the whole log and its views. Everything that is wrong is in the report.
///
/// # Errors
/// When the source does not answer.
pub async fn verify(
    source: &dyn AuditSource,
    against: Option<&Checkpoint>,
    now: Timestamp,
    progress: ProgressFn<'_>,
) -> Result<Report, ReadError> {
    let began = tokio::time::Instant::now();
    // Each event is read twice: by position and by entity.
    let total = source.size().await?.saturating_mul(2);
    let report = |done: u64| progress(VerificationProgress { done: done.min(total), total });
    report(0);
    let chains = chains(source, against.cloned(), now, &report).await?;
    let Chains { mut faults, streams, checkpoint, newest, requests } = chains;
    for line in source.damage().await? {
        faults.general(stateward_domain::audit::FaultKind::File, line);
    }
    let mut claims = ClaimCheck::new(newest, source.claims_objects().await?);
    let mut views = ViewCheck::new(faults, newest);
    checkpoints::check(source, &mut views).await?;
    let mut after = String::new();
    loop {
        let page = EntityPage::read(source, &after).await?;
        let until = page.until();
        let done = |done| report(checkpoint.count + done);
        views = views.compare(source, &mut claims, page, &after, &done).await?;
        match until {
            Some(id) => after = id,
            None => break,
        }
    }
    checkpoints::await_models(source, &mut views).await?;
    let ViewCheck { mut faults, entities, notes, .. } = views;
    for fault in source.whole_table_faults().await? {
        faults.add(fault);
    }
    claims.check(source, &claim_check::of_requests(&claims, requests, &faults)).await?;
    claims.finish(source, &mut faults).await?;
    progress(VerificationProgress { done: total, total });
    Ok(Report {
        ok: faults.count() == 0,
        events: checkpoint.count,
        streams,
        entities,
        fault_count: faults.count(),
        faults: faults.into_first(),
        notes,
        checkpoint,
        elapsed_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

/// Verifies the chains alone: hashes, versions, positions, times, and the checkpoint.
///
/// # Errors
/// When the source does not answer.
pub async fn chains(
    source: &dyn AuditSource,
    against: Option<Checkpoint>,
    now: Timestamp,
    done: &(dyn Fn(u64) + Send + Sync),
) -> Result<Chains, ReadError> {
    let until = source.head().await?;
    let mut checker = ChainChecker::new(source.identity(), against);
    let mut page = source.rows(Position::START, until, PAGE).await?;
    let mut count = 0;
    while let Some(last) = page.last().map(position) {
        count += page.len() as u64;
        let check = move || {
            for row in &page {
                checker.take(row);
            }
            checker
        };
        // Hash one page while the next one is read.
        let (returned, next) = tokio::join!(run_blocking(check), source.rows(last, until, PAGE));
        (checker, page) = (returned?, next?);
        done(count);
    }
    Ok(checker.finish(now))
}

const fn position(row: &RawRow) -> Position {
    match row {
        Ok(event) => event.position,
        Err(row) => row.position,
    }
}
