//! Compares the heads of the streams, by which appends exclude each other, with the events. In pages: each is one
//! statement, in whose snapshot an append is there with its head or not at all.

use stateward_domain::audit::{Fault, FaultKind};
use stateward_domain::envelope::StreamId;
use stateward_domain::ports::store_error::StoreError;

use crate::postgres::connect::Database;
use crate::sql_value::limit_of;

/// Streams of a page.
const PAGE: usize = 2_000;
/// Faults that are reported, at most.
const FAULTS_MAX: usize = 100;

/// Heads behind a stream, each with the last event of its stream.
const STORED: &str = "SELECT s.aggregate_type, s.aggregate_id, s.version AS stored, e.sequence AS last, \
     s.hash = e.hash AS hash, s.recorded_at = e.recorded_at AS time FROM \
     (SELECT * FROM streams WHERE (aggregate_type, aggregate_id) > ($1, $2) \
     ORDER BY aggregate_type, aggregate_id LIMIT $3) s \
     LEFT JOIN LATERAL (SELECT sequence, hash, recorded_at FROM events e \
     WHERE e.aggregate_type = s.aggregate_type AND e.aggregate_id = s.aggregate_id \
     ORDER BY sequence DESC LIMIT 1) e ON true ORDER BY 1, 2";

/// Streams of events behind a stream, each with whether it has a head.
const OF_EVENTS: &str = "SELECT e.aggregate_type, e.aggregate_id, s.version AS stored, s.version AS last, \
     NULL::bool AS hash, NULL::bool AS time FROM \
     (SELECT DISTINCT aggregate_type, aggregate_id FROM events WHERE (aggregate_type, aggregate_id) > ($1, $2) \
     ORDER BY aggregate_type, aggregate_id LIMIT $3) e \
     LEFT JOIN streams s ON s.aggregate_type = e.aggregate_type AND s.aggregate_id = e.aggregate_id ORDER BY 1, 2";

/// A stream with its head and its last event.
struct Row {
    aggregate_type: String,
    aggregate_id: String,
    /// Version of the head; `None` = there is none.
    stored: Option<i64>,
    /// Version of the last event; `None` = there is none.
    last: Option<i64>,
    /// Whether the hashes are the same.
    hash: Option<bool>,
    /// Whether the times are the same.
    time: Option<bool>,
}

/// As it is read.
type Columns = (String, String, Option<i64>, Option<i64>, Option<bool>, Option<bool>);

impl From<Columns> for Row {
    fn from((aggregate_type, aggregate_id, stored, last, hash, time): Columns) -> Self {
        Self { aggregate_type, aggregate_id, stored, last, hash, time }
    }
}

impl Row {
    /// The first column that differs, and how.
    fn fault(&self) -> Option<Fault> {
        let (column, what) = match (self.stored, self.last) {
            (Some(stored), Some(last)) if stored != last => {
                ("version", format!("the head is at version {stored}, the last event at {last}"))
            }
            (Some(_), Some(_)) if self.hash == Some(false) => {
                ("hash", "the hash of the head is not that of the last event".to_owned())
            }
            (Some(_), Some(_)) if self.time == Some(false) => {
                ("recorded_at", "the time of the head is not that of the last event".to_owned())
            }
            (Some(_), Some(_)) => return None,
            (Some(_), None) => return Some(self.row_fault("there is a head without an event")),
            (None, _) => return Some(self.row_fault("there are events without a head")),
        };
        let fault = Fault::new(FaultKind::View, what);
        Some(fault.in_table(TABLE, &self.stream().to_string(), Some(column)).of(&self.stream()))
    }

    fn row_fault(&self, what: &str) -> Fault {
        let stream = self.stream();
        Fault::new(FaultKind::View, what).in_table(TABLE, &stream.to_string(), None).of(&stream)
    }

    fn stream(&self) -> StreamId {
        StreamId { category: self.aggregate_type.clone(), id: self.aggregate_id.clone() }
    }
}

/// Name of the table in faults.
pub(in crate::postgres) const TABLE: &str = "streams";

/// Heads that differ from the events, that are missing, or that have no event.
pub(super) async fn faults(database: &Database) -> Result<Vec<Fault>, StoreError> {
    let mut faults = Vec::new();
    for pages in [OF_EVENTS, STORED] {
        let mut after = (String::new(), String::new());
        while faults.len() < FAULTS_MAX {
            let page = sqlx::query_as(pages).bind(after.0).bind(after.1).bind(limit_of(PAGE));
            let page: Vec<Columns> = database.fetch_all(page).await?;
            let page: Vec<Row> = page.into_iter().map(Row::from).collect();
            let Some(last) = page.last() else { break };
            after = (last.aggregate_type.clone(), last.aggregate_id.clone());
            faults.extend(page.iter().filter_map(Row::fault));
        }
    }
    faults.truncate(FAULTS_MAX);
    Ok(faults)
}
