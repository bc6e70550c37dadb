//! Pages of a list: the range that is read, where it is cut, and the token of the next page.

use std::future::Future;

use stateward_domain::id::Position;
use stateward_domain::ports::projection::ModelError;
use stateward_domain::ports::read_model::{EntityFilter, OperationFilter, Page};
use uuid::Uuid;

use super::plan::{self, EntityAccessPath, OperationAccessPath, Plan};
use crate::page_token;

/// Rows that are read for one page, at most, where no index serves the whole filter: about three times those of a
/// full page.
pub(crate) const SCANNED_MAX: usize = 2_000;

/// A part of a list, in its order: behind `after`, up to and including `until`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct IdRange {
    pub(crate) after: Option<Uuid>,
    pub(crate) until: Option<Uuid>,
}

/// What lists are read from, over access paths `S`, as rows `R` with their ids.
pub(crate) trait ListSource<S, R>: Sync {
    /// Checkpoint of the model.
    fn as_of(&self) -> impl Future<Output = Result<Position, ModelError>> + Send;

    /// Id of the last of `count` rows of the plan's ranges, matching or not; `None` when fewer are left.
    fn bound(
        &self,
        plan: &Plan<S>,
        range: IdRange,
        count: usize,
    ) -> impl Future<Output = Result<Option<Uuid>, ModelError>> + Send;

    /// The rows in `range` that match, in the list's order, at most `limit`.
    fn rows(
        &self,
        plan: &Plan<S>,
        range: IdRange,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(Uuid, R)>, ModelError>> + Send;
}

/// A request for one page of a list.
pub(crate) struct PageRequest<'a, S> {
    pub(crate) plan: Plan<S>,
    /// Identifies the filter.
    pub(crate) fingerprint: String,
    pub(crate) size: usize,
    /// That of the previous page.
    pub(crate) token: Option<&'a str>,
    /// Rows that are read, at most, where rows have to be tested.
    pub(crate) scanned_max: usize,
}

impl<'a> PageRequest<'a, EntityAccessPath> {
    pub(crate) fn of_entities(filter: &EntityFilter, size: usize, token: Option<&'a str>) -> Self {
        let (plan, fingerprint) = (plan::entities(filter), format!("entities {filter:?}"));
        Self { plan, fingerprint, size, token, scanned_max: SCANNED_MAX }
    }
}

impl<'a> PageRequest<'a, OperationAccessPath> {
    pub(crate) fn of_operations(
        filter: &OperationFilter,
        size: usize,
        token: Option<&'a str>,
    ) -> Self {
        let (plan, fingerprint) = (plan::operations(filter), format!("operations {filter:?}"));
        Self { plan, fingerprint, size, token, scanned_max: SCANNED_MAX }
    }
}

/// Reads a page. Where rows have to be tested, at most `scanned_max` are read, and the token continues behind them.
///
/// # Errors
/// [`ModelError::BadPageToken`] for a token of another filter; those of `source`.
pub(crate) async fn read<S: Send + Sync, R: Send>(
    source: &impl ListSource<S, R>,
    request: PageRequest<'_, S>,
) -> Result<Page<R>, ModelError> {
    let PageRequest { plan, fingerprint, size, token, scanned_max } = request;
    let after = token.map(|token| page_token::after(&fingerprint, token)).transpose()?;
    // Before the rows: a delivery in between makes them newer than said, never older.
    let as_of = source.as_of().await?;
    if plan.branches.is_empty() {
        return Ok(Page { items: Vec::new(), next: None, as_of });
    }
    let mut range = IdRange { after, until: None };
    if !plan.rest.is_empty() {
        range.until = source.bound(&plan, range, scanned_max).await?;
    }
    // One row more than the page shows that there is a next page.
    let mut rows = source.rows(&plan, range, size.saturating_add(1)).await?;
    let more = rows.len() > size;
    rows.truncate(size);
    let last = rows.last().filter(|_| more).map(|(id, _)| *id).or(range.until);
    let next = last.map(|id| page_token::token(&fingerprint, id));
    Ok(Page { items: rows.into_iter().map(|(_, row)| row).collect(), next, as_of })
}
