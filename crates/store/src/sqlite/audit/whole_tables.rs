//! Compares tables that have no index by entity, because they are ordered like a list or hold totals. Their expected
//! rows follow from the read model's own rows in the same read transaction.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, SqliteConnection};
use stateward_domain::audit::Fault;
use stateward_domain::envelope::StreamId;
use stateward_domain::ports::projection::ModelError;
use stateward_domain::ports::read_model::EntityRow;

use super::shadow_tables::{DerivedTable, ShadowTables};
use super::view_page;
use crate::audit::{ENTITIES, TableRow, differences};
use crate::shared::views::columns;
use crate::sqlite::views::rows::ENTITY_COLUMNS;
use crate::sqlite::views::unavailable;

/// Entities read at a time.
const PAGE: i64 = 500;
/// Rows of a differing table that are compared at a time.
const DIFF_ROWS_MAX: u64 = 2_000_000;
/// Faults of one table that are reported, at most.
const FAULTS_MAX: usize = 100;

/// Order-independent digest of a set of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct RowSetDigest {
    count: u64,
    digests: u64,
}

impl RowSetDigest {
    const fn add(&mut self, digest: u64) {
        self.count += 1;
        self.digests = self.digests.wrapping_add(digest);
    }
}

/// Faults of these tables of the live read model. Called within a read transaction.
pub(super) async fn faults(
    connection: &mut SqliteConnection,
    shadow: &mut ShadowTables,
) -> Result<Vec<Fault>, ModelError> {
    let checkpoints = view_page::checkpoints(connection).await.map_err(unavailable)?;
    let live =
        checkpoints.iter().find(|checkpoint| checkpoint.name == ENTITIES && checkpoint.has_tables);
    let Some(live) = live.map(|checkpoint| checkpoint.tables).filter(|tables| *tables != 0) else {
        return Ok(Vec::new());
    };
    let tables = Arc::clone(&shadow.whole_tables);
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let mut comparison =
        WholeTableComparison { shadow, live, tables: &tables, digests: RandomState::new() };
    let mut made = vec![RowSetDigest::default(); tables.len()];
    comparison.each(connection, |place, digest, _| made[place].add(digest)).await?;
    let mut faults = Vec::new();
    let places = |of_many: bool| {
        let tables = tables.iter().enumerate();
        tables.filter(move |(_, table)| table.entity.is_none() == of_many)
    };
    for (place, table) in places(true) {
        let stored = comparison.stored(connection, place).await?;
        faults.extend(differences(stored, &comparison.shadow.totals(table).await?));
    }
    for (place, _) in places(false) {
        let mut there = RowSetDigest::default();
        comparison.stream(connection, place, |digest, _| there.add(digest)).await?;
        if there != made[place] {
            faults.extend(comparison.differing_rows(connection, place, there.count).await?);
        }
    }
    comparison.shadow.clear_totals().await?;
    Ok(faults)
}

/// The stored and the expected rows of these tables.
struct WholeTableComparison<'a> {
    shadow: &'a mut ShadowTables,
    /// Number of the live tables.
    live: i64,
    tables: &'a [DerivedTable],
    digests: RandomState,
}

impl WholeTableComparison<'_> {
    fn digest(&self, row: &TableRow) -> u64 {
        self.digests.hash_one(format!("{:?}", row.cells))
    }

    /// Calls `take` for every expected row: index of its table, digest, entity and row. Totals accumulate in the
    /// shadow tables.
    async fn each(
        &mut self,
        connection: &mut SqliteConnection,
        mut take: impl FnMut(usize, u64, (String, TableRow)) + Send,
    ) -> Result<(), ModelError> {
        let mut after = String::new();
        loop {
            let statement = format!(
                "SELECT e.id, {} FROM entities_v{} e WHERE e.id > ? ORDER BY e.id LIMIT ?",
                *ENTITY_COLUMNS, self.live
            );
            let page: Vec<(String, String, i64, i64, i64)> =
                sqlx::query_as(AssertSqlSafe(statement))
                    .bind(&after)
                    .bind(PAGE)
                    .fetch_all(&mut *connection)
                    .await
                    .map_err(unavailable)?;
            let Some((last, ..)) = page.last() else { return Ok(()) };
            after.clone_from(last);
            // A row that cannot be read, or is of another entity, is a fault that was reported.
            let entity = |(id, data, version, created, updated): (String, _, _, _, _)| {
                let row = columns::entity((data, version, created, updated)).ok()?;
                (row.entity.id.to_string() == id).then_some(row)
            };
            let page: Vec<EntityRow> = page.into_iter().filter_map(entity).collect();
            let made = self.shadow.expected_in_whole_tables(&page).await?;
            for (place, row) in made {
                let digest = self.digest(&row.1);
                take(place, digest, row);
            }
        }
    }

    /// Calls `take` for every stored row of one table.
    async fn stream(
        &self,
        connection: &mut SqliteConnection,
        place: usize,
        mut take: impl FnMut(u64, (String, TableRow)) + Send,
    ) -> Result<(), ModelError> {
        let table = &self.tables[place];
        let all = AssertSqlSafe(format!("SELECT * FROM {}", table.named(self.live)));
        let mut rows = sqlx::query(all).fetch(connection);
        while let Some(row) = rows.try_next().await.map_err(unavailable)? {
            for row in table.rows(std::slice::from_ref(&row)) {
                take(self.digest(&row.1), row);
            }
        }
        Ok(())
    }

    /// Every stored row of a small table.
    async fn stored(
        &self,
        connection: &mut SqliteConnection,
        place: usize,
    ) -> Result<Vec<TableRow>, ModelError> {
        let mut stored = Vec::new();
        self.stream(connection, place, |_, (_, row)| stored.push(row)).await?;
        Ok(stored)
    }

    /// The rows in which a table of `count` rows differs; in several passes, so that memory is bounded.
    async fn differing_rows(
        &mut self,
        connection: &mut SqliteConnection,
        place: usize,
        count: u64,
    ) -> Result<Vec<Fault>, ModelError> {
        let (parts, mut faults) = (count / DIFF_ROWS_MAX + 1, Vec::new());
        let mut report = |entity: String, row: &TableRow, what: &str| {
            if faults.len() < FAULTS_MAX {
                let stream = StreamId { category: StreamId::ENTITY.to_owned(), id: entity };
                faults.push(row.fault(None, what).of(&stream));
            }
        };
        for part in 0..parts {
            let (mut missing, is_ours) = (HashSet::new(), |digest: u64| digest % parts == part);
            self.each(connection, |of, digest, _| {
                if of == place && is_ours(digest) {
                    missing.insert(digest);
                }
            })
            .await?;
            self.stream(connection, place, |digest, (entity, row)| {
                if is_ours(digest) && !missing.remove(&digest) {
                    report(entity, &row, "the events make no such row");
                }
            })
            .await?;
            self.each(connection, |of, digest, (entity, row)| {
                if of == place && missing.contains(&digest) {
                    report(entity, &row, "the row is missing that the events make");
                }
            })
            .await?;
        }
        Ok(faults)
    }
}
