//! The read model's versioned tables: a rebuild fills new ones beside the live ones, and a pointer in the
//! checkpoint's row says which are live.

use sqlx::{AssertSqlSafe, SqliteConnection};
use stateward_domain::id::Position;

use crate::shared::views::index::Index;

/// Name of the model and of its checkpoint.
pub(super) const NAME: &str = "entities";
/// Checkpoint of a rebuild.
pub(super) const REBUILD: &str = "entities@beside";
/// Shape of the tables and of the fold in their rows; raise it when either changes, and the next start rebuilds them. A
/// row of an older fold lacks what its events say of a new member, and later events do not put that right.
///
/// `stored_fold.txt` has the members that it stands for; a test compares them.
pub(crate) const SHAPE: i64 = 6;
/// Condition of the partial indexes of drifted entities.
pub(super) const DRIFTED: &str = "drifted = 1";
/// Table numbers of one shape.
const PER_SHAPE: i64 = 1_000;

/// Which tables one instance of the model uses: `entities_v<n>`, `labels_v<n>`, `counts_v<n>` and `operations_v<n>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sqlite) struct Tables(pub(in crate::sqlite) i64);

impl Tables {
    /// The tables of the next rebuild.
    pub(super) const fn next(self) -> Self {
        Self(SHAPE * PER_SHAPE + (self.0 + 1) % PER_SHAPE)
    }

    /// Each filter of a list, alone and within a namespace, has an index with the looked-up columns and then the
    /// list's order ([`Index`]), so that the cost of a page does not depend on the number of entities. Deleted
    /// entities are a range of their own in each, so that they do not slow lists of undeleted ones down.
    ///
    /// `deleted` is written once per entity, so that updates touch only the indexes of state and drift. Few entities
    /// have drifted, so the latter index nothing else.
    ///
    /// Labels are rows: one for the namespace and one for all namespaces (empty), each with the value behind a `=`
    /// and with any value (empty). Only undeleted entities have them.
    ///
    /// Entities have row numbers, unlike the other tables: a row has about a kilobyte, and in a table WITHOUT ROWID
    /// what exceeds a quarter of a page would get an overflow page
    /// (<https://sqlite.org/fileformat.html#index_b_trees>).
    pub(in crate::sqlite) async fn create(
        self,
        connection: &mut SqliteConnection,
    ) -> Result<(), sqlx::Error> {
        let n = self.0;
        let schema = format!(
            "CREATE TABLE entities_v{n} (
                id         TEXT    NOT NULL PRIMARY KEY,
                namespace  TEXT    NOT NULL,
                kind       TEXT    NOT NULL,
                name       TEXT    NOT NULL,
                backend    TEXT    NOT NULL,
                state      TEXT    NOT NULL,
                deleted    INTEGER NOT NULL,
                drifted    INTEGER NOT NULL,
                blocked    TEXT    NOT NULL,
                dead       INTEGER NOT NULL,
                version    INTEGER NOT NULL,
                created_at INTEGER NOT NULL,
                updated_at INTEGER NOT NULL,
                labels     TEXT    NOT NULL,
                data       TEXT    NOT NULL
            );
            CREATE TABLE labels_v{n} (
                namespace TEXT NOT NULL,
                key       TEXT NOT NULL,
                value     TEXT NOT NULL,
                id        TEXT NOT NULL,
                PRIMARY KEY (namespace, key, value, id)
            ) WITHOUT ROWID;
            CREATE TABLE counts_v{n} (
                backend TEXT    NOT NULL,
                kind    TEXT    NOT NULL,
                state   TEXT    NOT NULL,
                blocked TEXT    NOT NULL,
                dead    INTEGER NOT NULL,
                number  INTEGER NOT NULL,
                PRIMARY KEY (backend, kind, state, blocked, dead)
            ) WITHOUT ROWID;
            CREATE TABLE operations_v{n} (
                id         TEXT PRIMARY KEY,
                entity     TEXT NOT NULL,
                namespace  TEXT NOT NULL,
                state      TEXT NOT NULL,
                data       TEXT NOT NULL
            ) WITHOUT ROWID;
            CREATE INDEX operations_v{n}_entity ON operations_v{n} (entity, id);
            CREATE INDEX operations_v{n}_namespace ON operations_v{n} (namespace, id);
            CREATE INDEX operations_v{n}_state ON operations_v{n} (state, id);"
        );
        let indexes = Index::ALL.map(|index| definition(index, n));
        let schema = schema + &indexes.concat();
        sqlx::raw_sql(AssertSqlSafe(schema)).execute(connection).await?;
        Ok(())
    }

    async fn drop(self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let n = self.0;
        let statement = ["entities", "labels", "counts", "operations"]
            .map(|table| format!("DROP TABLE IF EXISTS {table}_v{n};"))
            .concat();
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(connection).await?;
        Ok(())
    }
}

/// The statement that creates an index of `entities_v<n>`.
fn definition(index: Index, n: i64) -> String {
    let columns: String = index.columns().map(|column| format!("{}, ", column.name())).collect();
    let only = if index.drifted_only() { format!(" WHERE {DRIFTED}") } else { String::new() };
    format!(
        "CREATE INDEX entities_v{n}_{} ON entities_v{n} ({columns}deleted, id){only};",
        index.name(),
    )
}

/// The tables of an instance, [`NAME`] or [`REBUILD`]; `None` = there are none (yet).
pub(super) async fn of(
    connection: &mut SqliteConnection,
    name: &str,
) -> Result<Option<Tables>, sqlx::Error> {
    let number: Option<i64> = sqlx::query_scalar("SELECT tables FROM checkpoints WHERE name = ?")
        .bind(name)
        .fetch_optional(connection)
        .await?;
    Ok(number.map(Tables))
}

/// Creates the tables of this shape unless they exist, and drops leftovers of rebuilds. Returns whether it created
/// them: then the caller resets the other projections in the same transaction, because this version may be able to
/// read streams that the one before it put in quarantine.
pub(in crate::sqlite) async fn prepare(
    connection: &mut SqliteConnection,
) -> Result<bool, sqlx::Error> {
    let found = of(connection, NAME).await?.filter(|tables| tables.0 / PER_SHAPE == SHAPE);
    let tables = found.unwrap_or(Tables(SHAPE * PER_SHAPE));
    drop_all_but(connection, found).await?;
    if found.is_none() {
        tables.create(connection).await?;
        sqlx::query("DELETE FROM quarantine WHERE model = ?")
            .bind(NAME)
            .execute(&mut *connection)
            .await?;
        point(connection, NAME, Position::START, tables).await?;
    }
    Ok(found.is_none())
}

/// Drops all tables of the model but `kept`.
pub(super) async fn drop_all_but(
    connection: &mut SqliteConnection,
    kept: Option<Tables>,
) -> Result<(), sqlx::Error> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB 'entities_v*'",
    )
    .fetch_all(&mut *connection)
    .await?;
    for name in names {
        let number = name.trim_start_matches("entities_v").parse().ok().map(Tables);
        if let Some(tables) = number.filter(|tables| Some(*tables) != kept) {
            tables.drop(connection).await?;
        }
    }
    sqlx::query("DELETE FROM checkpoints WHERE name = ?")
        .bind(REBUILD)
        .execute(&mut *connection)
        .await?;
    sqlx::query("DELETE FROM quarantine WHERE model = ?").bind(REBUILD).execute(connection).await?;
    Ok(())
}

/// Sets checkpoint and table number of an instance.
pub(super) async fn point(
    connection: &mut SqliteConnection,
    name: &str,
    position: Position,
    tables: Tables,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO checkpoints (name, position, tables) VALUES (?, ?, ?) \
         ON CONFLICT (name) DO UPDATE SET position = excluded.position, tables = excluded.tables",
    )
    .bind(name)
    .bind(position.to_string())
    .bind(tables.0)
    .execute(connection)
    .await?;
    Ok(())
}
