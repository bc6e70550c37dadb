//! Derived tables: a changed column, a missing row and an extra row are found and named. Tables and columns are read
//! from the files, so that later ones are covered too.

use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
use stateward_domain::audit::{Fault, FaultKind, Report};
use stateward_domain::id::Position;
use stateward_domain::ports::audit::Auditor as _;
use stateward_domain::ports::event_store::EventStore;
use stateward_domain::ports::projection::{ModelError, Projection, Quarantined};
use stateward_store::sqlite::{Auditor, Store};

use super::fixture::{Fixture, enqueue, histories, project};
use crate::support::{append, stream};

/// Tables that do not follow from the log: workers alone write leases, drift timers and their observations, and these
/// may be lost.
const NOT_DERIVED: [&str; 3] = ["sync_leases", "sync_observed", "sync_observed_since"];
/// Columns that do not follow from the log: the end of a wait by the steady clock of the writing process.
const NOT_DERIVED_COLUMNS: [&str; 1] = ["lease_after"];
/// Derived tables in `events.db`.
const OF_THE_LOG: [&str; 1] = ["claims"];
/// Rows of each table that are changed.
const ROWS: usize = 4;

/// A table with its columns and its primary key.
struct Table {
    name: String,
    columns: Vec<String>,
    key: Vec<String>,
}

/// One of the two files, with a pristine copy attached, from which each change is undone.
struct File {
    connection: SqliteConnection,
    chance: TestRng,
}

impl File {
    async fn open(fixture: &Fixture, name: &str) -> Self {
        let copy = fixture.path(&format!("{name}.pristine"));
        let options = SqliteConnectOptions::new().filename(fixture.path(name));
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        let attach = format!(
            "PRAGMA ignore_check_constraints = ON; PRAGMA synchronous = OFF; \
             VACUUM INTO '{0}'; ATTACH '{0}' AS pristine",
            copy.display()
        );
        sqlx::raw_sql(AssertSqlSafe(attach)).execute(&mut connection).await.unwrap();
        let chance = TestRng::from_seed(RngAlgorithm::ChaCha, &[51; 32]);
        Self { connection, chance }
    }

    async fn texts(&mut self, query: &str) -> Vec<String> {
        let query = sqlx::query_scalar(AssertSqlSafe(query.to_owned()));
        query.fetch_all(&mut self.connection).await.unwrap()
    }

    async fn tables(&mut self) -> Vec<Table> {
        let names = "SELECT name FROM main.sqlite_schema WHERE type = 'table' \
                     AND name NOT GLOB 'sqlite_*' ORDER BY name";
        let mut tables = Vec::new();
        for name in self.texts(names).await {
            let all = format!("SELECT name FROM pragma_table_info('{name}')");
            let mut columns = self.texts(&all).await;
            columns.retain(|column| !NOT_DERIVED_COLUMNS.contains(&column.as_str()));
            let key = self.texts(&format!("{all} WHERE pk > 0")).await;
            tables.push(Table { name, columns, key });
        }
        tables
    }

    /// SQL conditions, one for each row.
    async fn rows(&mut self, Table { name, key, .. }: &Table) -> Vec<String> {
        let each: Vec<_> =
            key.iter().map(|column| format!("'{column} = ' || quote({column})")).collect();
        self.texts(&format!("SELECT {} FROM {name}", each.join(" || ' AND ' || "))).await
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.chance.next_u32()).unwrap() % end
    }

    /// Another value of the same type for `column` where `row` holds, as SQL.
    async fn other(&mut self, table: &str, column: &str, row: &str) -> String {
        let now = format!(
            "SELECT typeof({column}) || ':' || CASE typeof({column}) WHEN 'text' \
             THEN hex({column}) ELSE coalesce({column}, '') END FROM {table} WHERE {row}"
        );
        let now = self.texts(&now).await.remove(0);
        let (kind, value) = now.split_once(':').unwrap();
        match kind {
            "integer" => {
                // The time of a claim is ambiguous by microseconds when its append has several events.
                let first = if column == "taken_at" { 12 } else { 0 };
                let bit = first + self.below(62 - first);
                (value.parse::<i64>().unwrap() ^ (1 << bit)).to_string()
            }
            "null" => "1".to_owned(),
            _ if value.is_empty() => "'x'".to_owned(),
            _ => self.flipped(value),
        }
    }

    /// A text with one bit changed that is still valid.
    fn flipped(&mut self, hex: &str) -> String {
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
        loop {
            let (mut other, bit) = (bytes.clone(), self.below(bytes.len() * 8));
            other[bit / 8] ^= 1 << (bit % 8);
            if std::str::from_utf8(&other).is_ok_and(|text| !text.contains('\0')) {
                let hex: String = other.iter().map(|byte| format!("{byte:02x}")).collect();
                return format!("CAST(x'{hex}' AS TEXT)");
            }
        }
    }

    /// Runs `statement`; false when it changed no row.
    async fn change(&mut self, statement: &str) -> bool {
        let done = sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut self.connection);
        done.await.is_ok_and(|done| done.rows_affected() == 1)
    }

    async fn undo(&mut self, table: &str) {
        let undo = format!(
            "BEGIN; DELETE FROM main.{table}; \
             INSERT INTO main.{table} SELECT * FROM pristine.{table}; COMMIT"
        );
        sqlx::raw_sql(AssertSqlSafe(undo)).execute(&mut self.connection).await.unwrap();
    }

    /// All changes of a few rows of a table.
    async fn changes(&mut self, table: &Table) -> Vec<String> {
        let Table { name, columns, key } = table;
        let mut changes = Vec::new();
        let rows = self.rows(table).await;
        for _ in 0..ROWS.min(rows.len()) {
            let row = &rows[self.below(rows.len())];
            for column in columns {
                let other = self.other(name, column, row).await;
                changes.push(format!("UPDATE {name} SET {column} = {other} WHERE {row}"));
            }
            changes.push(format!("DELETE FROM {name} WHERE {row}"));
            // Another value of the last key column makes it another row.
            let made = key.last().unwrap();
            let other = self.other(name, made, row).await;
            let values: Vec<_> = columns
                .iter()
                .map(|column| if column == made { other.clone() } else { column.clone() })
                .collect();
            let (columns, values) = (columns.join(", "), values.join(", "));
            changes.push(format!(
                "INSERT INTO {name} ({columns}) SELECT {values} FROM {name} WHERE {row}"
            ));
        }
        if rows.is_empty() {
            let values = vec!["'1'"; columns.len()].join(", ");
            let columns = columns.join(", ");
            changes.push(format!("INSERT INTO {name} ({columns}) VALUES ({values})"));
        }
        changes
    }
}

/// A store whose views are up to date, with an entity's event as the last one.
async fn fixture() -> Fixture {
    let mut fixture = Fixture::with(&histories(61, 16, 30)).await;
    let store = fixture.open().await;
    fixture.append_histories(&store, &histories(62, 2, 12)).await;
    project(&store).await;
    enqueue(&store).await;
    store.close().await;
    fixture
}

async fn verified(auditor: &Auditor) -> Report {
    auditor.verify(None, &|_| ()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_of_what_follows_from_the_log_is_found_and_named() {
    let fixture = fixture().await;
    let auditor = fixture.auditor().await;
    let healthy = verified(&auditor).await;
    assert!(healthy.ok, "{:#?}", healthy.faults);
    let (mut done, mut silent) = (0, Vec::new());
    for (file, only) in [("views.db", None), ("events.db", Some(OF_THE_LOG))] {
        let mut file = File::open(&fixture, file).await;
        for table in file.tables().await {
            let name = table.name.as_str();
            if NOT_DERIVED.contains(&name) || only.is_some_and(|only| !only.contains(&name)) {
                continue;
            }
            for change in file.changes(&table).await {
                // A change that the file's constraints reject is impossible.
                if !file.change(&change).await {
                    continue;
                }
                let report = verified(&auditor).await;
                let shown = name.split("_v").next().unwrap_or(name);
                let named = report.faults.iter().any(|fault| {
                    serde_json::to_value(fault).is_ok_and(|fault| fault["table"] == shown)
                });
                if report.ok || !named {
                    silent.push(format!("{change}: {:?}", report.faults));
                }
                done += 1;
                file.undo(name).await;
            }
        }
    }
    assert!(silent.is_empty(), "{} of {done}: {silent:#?}", silent.len());
    assert!(done > 150, "only {done} changes were made");
    let undone = verified(&auditor).await;
    assert!(undone.ok, "{:#?}", undone.faults);
}

/// Quarantines streams that cannot be applied, as the runner does.
async fn project_what_can_be(store: &Store) {
    loop {
        let from = Projection::checkpoint(&*store.entities).await.unwrap();
        let events = store.log.read_log(from, 200).await.unwrap().events;
        let Some(last) = events.last() else { return };
        match store.entities.apply(from, last.position, &events).await {
            Err(ModelError::Poisoned { stream, message, .. }) => {
                let first = events.iter().find(|event| event.stream.to_string() == stream);
                let position = first.unwrap().position;
                store.entities.quarantine(Quarantined { stream, position, message }).await.unwrap();
            }
            applied => applied.unwrap(),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_set_aside_hides_no_row() {
    let fixture = fixture().await;
    let store = fixture.open().await;
    let first = store.log.read_log(Position::START, 20).await.unwrap().events;
    let id = first.iter().find_map(|event| event.stream.entity_id()).unwrap().to_string();
    let version = store.log.head_of(&stream(&id)).await.unwrap();
    // Its payload does not fit its type.
    store.log.append(append(&id, version.0, 1 << 100, 1, vec![])).await.unwrap();
    project_what_can_be(&store).await;
    store.close().await;
    drop(store);
    let auditor = fixture.auditor().await;
    let report = verified(&auditor).await;
    assert_eq!(report.fault_count, 1, "{:#?}", report.faults);
    assert_eq!(report.faults[0].fault, FaultKind::Payload);
    assert!(report.notes.iter().any(|note| note.contains(&id)), "{:?}", report.notes);

    let mut file = File::open(&fixture, "views.db").await;
    let tables = file.tables().await;
    let entities = &tables.iter().find(|table| table.name.starts_with("entities_v")).unwrap().name;
    let aside = format!("WHERE stream = 'entity/{id}'");
    for (table, change) in [
        (entities.as_str(), format!("UPDATE {entities} SET namespace = 'other' WHERE id = '{id}'")),
        (entities.as_str(), format!("DELETE FROM {entities} WHERE id = '{id}'")),
        ("quarantine", format!("DELETE FROM quarantine {aside}")),
        ("quarantine", format!("UPDATE quarantine SET model = 'entities@beside' {aside}")),
        ("quarantine", format!("UPDATE quarantine SET position = position || '0' {aside}")),
        (
            "quarantine",
            format!(
                "UPDATE quarantine SET position = (SELECT max(position) FROM sync_queue) {aside}"
            ),
        ),
    ] {
        assert!(file.change(&change).await, "{change}");
        let report = verified(&auditor).await;
        let shown = table.split("_v").next().unwrap();
        let named = |fault: &Fault| fault.table.as_deref() == Some(shown);
        assert!(report.faults.iter().any(named), "{change}: {:#?}", report.faults);
        file.undo(table).await;
    }
    assert_eq!(verified(&auditor).await.fault_count, 1);
}
