//! Pipelined transactions: sent to their connection's thread in one piece.
//!
//! sqlx runs each connection in a thread of its own, and a round trip to it costs more than most statements. So a
//! transaction collects statements with their values and sends them together.

use std::borrow::Cow;
use std::ops::{Deref, DerefMut};

use futures_util::TryStreamExt;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, AssertSqlSafe, Either, Encode, Executor, Sqlite, SqliteConnection, Type};

use crate::shared::stored_row::{RowValues, StoredRow, Value};

/// Rows of one insert. Unused rows of a size are filled with NULLs, so that few distinct statements have to be
/// prepared.
const SIZES: [usize; 3] = [1, 8, 64];
const ROWS_MAX: usize = SIZES[SIZES.len() - 1];

/// A writing connection.
pub(super) struct WriteConnection {
    inner: SqliteConnection,
    /// Whether a transaction began whose end was not seen: its future was dropped, and the transaction may still be
    /// open.
    open: bool,
}

impl WriteConnection {
    pub(super) const fn new(connection: SqliteConnection) -> Self {
        Self { inner: connection, open: false }
    }

    /// Rolls back a transaction whose future was dropped. Called before the connection is used again.
    pub(super) async fn roll_back_abandoned(&mut self) {
        if self.open {
            self.roll_back().await;
        }
    }

    /// Begins a transaction with `BEGIN IMMEDIATE`, so that it never waits for the write lock in its middle.
    pub(super) fn pipeline(&mut self) -> PipelinedTransaction<'_> {
        let values = Values(SqliteArguments::default());
        let statements = "BEGIN IMMEDIATE; ".to_owned();
        PipelinedTransaction { connection: self, statements, count: 1, values }
    }

    pub(super) fn into_inner(self) -> SqliteConnection {
        self.inner
    }

    async fn roll_back(&mut self) {
        // Fails when no transaction is open, which is fine.
        let _ = sqlx::query("ROLLBACK").execute(&mut self.inner).await;
        self.open = false;
    }
}

impl Deref for WriteConnection {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.inner
    }
}

impl DerefMut for WriteConnection {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.inner
    }
}

/// A transaction. It is rolled back when it fails, and when it is dropped without a commit.
pub(super) struct PipelinedTransaction<'w> {
    connection: &'w mut WriteConnection,
    /// Statements that were not sent yet.
    statements: String,
    /// Number of those statements.
    count: usize,
    values: Values,
}

/// How a commit failed.
#[derive(Debug)]
pub(super) enum CommitError {
    /// Nothing was written.
    NotStarted(sqlx::Error),
    /// Perhaps all of it was written, perhaps nothing.
    Unknown(sqlx::Error),
}

impl From<sqlx::Error> for CommitError {
    fn from(error: sqlx::Error) -> Self {
        Self::NotStarted(error)
    }
}

impl From<CommitError> for sqlx::Error {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::NotStarted(error) | CommitError::Unknown(error) => error,
        }
    }
}

/// Values of the statements' question marks, in order.
pub(super) struct Values(SqliteArguments);

impl Values {
    /// Adds a value.
    pub(super) fn push<'v>(&mut self, value: impl Encode<'v, Sqlite> + Type<Sqlite>) -> &mut Self {
        self.0.add(value).expect("texts, bytes and numbers can be stored");
        self
    }
}

impl RowValues for Values {
    fn put(&mut self, _: &'static str, value: impl Into<Value>) -> &mut Self {
        match value.into() {
            Value::Text(text) => self.push(text),
            Value::Shared(text) => self.push(text),
            Value::Name(name) => self.push(name),
            Value::Number(number) => self.push(number),
            Value::Flag(flag) => self.push(flag),
            Value::Bytes(bytes) => self.push(bytes),
            Value::Missing => self.push(None::<i64>),
        }
    }
}

impl PipelinedTransaction<'_> {
    /// Adds a statement; returns the list that its values go to.
    pub(super) fn push(&mut self, statement: &str) -> &mut Values {
        self.statements.push_str(statement);
        self.statements.push_str("; ");
        self.count += 1;
        &mut self.values
    }

    /// The connection, for reads: they see what was sent, not what is pending.
    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection.inner
    }

    /// Adds inserts of `rows` into `table`. `conflict` is the clause behind the rows, such as `ON CONFLICT`; may be
    /// empty. Full chunks are sent at once.
    pub(super) async fn insert_rows<R: StoredRow + Sync>(
        &mut self,
        table: impl Into<Cow<'static, str>> + Send,
        conflict: &'static str,
        rows: &[R],
    ) -> Result<(), sqlx::Error> {
        let insert = Insert { table: table.into(), columns: R::COLUMNS, conflict };
        self.insert(&insert, rows, |values, row| row.put(values)).await
    }

    /// As [`insert_rows`](Self::insert_rows); `bind` pushes a row's values in the order of the columns.
    pub(super) async fn insert<T: Sync>(
        &mut self,
        insert: &Insert,
        rows: &[T],
        bind: impl Fn(&mut Values, &T) + Send + Sync,
    ) -> Result<(), sqlx::Error> {
        for chunk in rows.chunks(ROWS_MAX) {
            let size = SIZES.into_iter().find(|size| *size >= chunk.len()).unwrap_or(ROWS_MAX);
            let values = self.push(&insert.text(size));
            for row in chunk {
                bind(values, row);
            }
            for _ in 0..(size - chunk.len()) * insert.columns.len() {
                values.push(None::<i64>);
            }
            if chunk.len() == ROWS_MAX {
                self.run().await?;
            }
        }
        Ok(())
    }

    /// Sends what is pending; returns the number of rows that the statements returned.
    pub(super) async fn run(&mut self) -> Result<usize, sqlx::Error> {
        self.send().await.map_err(|(error, _)| error)
    }

    /// Sends what is pending and commits; returns the number of rows that the statements returned.
    ///
    /// # Errors
    /// [`CommitError::Unknown`] when the commit itself failed or the thread died, else [`CommitError::NotStarted`].
    pub(super) async fn commit(mut self) -> Result<usize, CommitError> {
        self.push("COMMIT");
        match self.send().await {
            Ok(returned) => {
                self.connection.open = false;
                Ok(returned)
            }
            // A dead thread reports no statement's failure, so the commit may have happened.
            Err((error, left)) if left == 1 || matches!(error, sqlx::Error::WorkerCrashed) => {
                Err(CommitError::Unknown(error))
            }
            Err((error, _)) => Err(CommitError::NotStarted(error)),
        }
    }

    /// The number of rows returned, or the error with the number of statements that did not finish.
    async fn send(&mut self) -> Result<usize, (sqlx::Error, usize)> {
        let statements = AssertSqlSafe(std::mem::take(&mut self.statements));
        let statements = sqlx::query_with(statements, std::mem::take(&mut self.values.0));
        let (mut left, mut rows) = (std::mem::take(&mut self.count), 0);
        self.connection.open = true;
        let mut steps = self.connection.inner.fetch_many(statements);
        let failed = loop {
            match steps.try_next().await {
                Ok(Some(Either::Left(_done))) => left -= 1,
                Ok(Some(Either::Right(_row))) => rows += 1,
                Ok(None) if left == 0 => return Ok(rows),
                Ok(None) => break sqlx::Error::WorkerCrashed,
                Err(error) => break error,
            }
        };
        drop(steps);
        self.connection.roll_back().await;
        Err((failed, left))
    }
}

/// An insert statement.
pub(super) struct Insert {
    pub(super) table: Cow<'static, str>,
    /// The first column is never NULL.
    pub(super) columns: &'static [&'static str],
    /// Clause behind the rows, such as `ON CONFLICT`; may be empty.
    pub(super) conflict: &'static str,
}

impl Insert {
    fn text(&self, size: usize) -> String {
        let Self { table, columns, conflict } = self;
        let row = format!("({})", vec!["?"; columns.len()].join(", "));
        let (named, rows) = (columns.join(", "), vec![row; size].join(", "));
        format!(
            "INSERT INTO {table} ({named}) SELECT * FROM (VALUES {rows}) \
             WHERE column1 IS NOT NULL {conflict}"
        )
    }
}

/// The clause that replaces these columns of a row whose `key` exists.
pub(super) fn update_on_conflict<R: StoredRow>(
    key: &str,
    written: impl Fn(&str) -> bool,
) -> String {
    let columns = R::COLUMNS.iter().filter(|column| **column != key && written(column));
    let values: Vec<_> = columns.map(|column| format!("{column} = excluded.{column}")).collect();
    format!("ON CONFLICT ({key}) DO UPDATE SET {}", values.join(", "))
}

#[cfg(test)]
mod tests {
    use sqlx::Connection;

    use super::*;

    const INSERT: Insert =
        Insert { table: Cow::Borrowed("things"), columns: &["id", "name"], conflict: "" };

    async fn writer() -> WriteConnection {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.expect("memory");
        let table = "CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT)";
        sqlx::query(table).execute(&mut connection).await.expect("a table");
        WriteConnection::new(connection)
    }

    async fn things(writer: &mut WriteConnection) -> Vec<(i64, Option<String>)> {
        let all = sqlx::query_as("SELECT id, name FROM things ORDER BY id");
        all.fetch_all(&mut **writer).await.expect("rows")
    }

    async fn add(transaction: &mut PipelinedTransaction<'_>, count: i64) {
        let rows: Vec<i64> = (1..=count).collect();
        let bind = |values: &mut Values, id: &i64| {
            values.push(*id).push(format!("thing {id}"));
        };
        transaction.insert(&INSERT, &rows, bind).await.expect("rows");
    }

    #[tokio::test]
    async fn sqlite_is_compiled_as_the_configuration_says() {
        let mut writer = writer().await;
        let options: Vec<String> = sqlx::query_scalar("PRAGMA compile_options")
            .fetch_all(&mut *writer)
            .await
            .expect("options");
        for wanted in ["ENABLE_QPSG", "STMTJRNL_SPILL=8388608"] {
            let found = options.iter().any(|option| option == wanted);
            assert!(
                found,
                "SQLite was compiled without {wanted} of .cargo/config.toml: {options:?}"
            );
        }
    }

    #[tokio::test]
    async fn as_many_rows_are_written_as_there_are() {
        for count in [0, 1, 2, 8, 9, 63, 64, 65, 72, 73, 128, 200] {
            let mut writer = writer().await;
            let mut transaction = writer.pipeline();
            add(&mut transaction, count).await;
            transaction.push("UPDATE things SET name = ? WHERE id = ?").push("other").push(1);
            assert_eq!(transaction.commit().await.expect("written"), 0);
            let things = things(&mut writer).await;
            assert_eq!(things.len() as u64, count.unsigned_abs());
            for (number, (id, name)) in (1..).zip(things) {
                let expected = if number == 1 { "other".to_owned() } else { format!("thing {id}") };
                assert_eq!((id, name), (number, Some(expected)), "of {count}");
            }
        }
    }

    #[tokio::test]
    async fn what_fails_did_not_happen_and_the_next_goes_on() {
        let mut writer = writer().await;
        let mut transaction = writer.pipeline();
        add(&mut transaction, 70).await;
        transaction.push("INSERT INTO things (id) VALUES (?)").push(3);
        assert!(transaction.commit().await.is_err(), "there is a third one already");
        assert_eq!(things(&mut writer).await, []);
        let mut transaction = writer.pipeline();
        add(&mut transaction, 1).await;
        transaction.commit().await.expect("nothing is in the way");
        assert_eq!(things(&mut writer).await.len(), 1);
    }

    #[tokio::test]
    async fn it_is_known_whether_the_commit_failed_or_what_comes_before() {
        let mut writer = writer().await;
        let deferred =
            "CREATE TABLE parts (of INTEGER REFERENCES things DEFERRABLE INITIALLY DEFERRED)";
        sqlx::query(deferred).execute(&mut *writer).await.expect("a table");
        for (of, in_commit) in [(Some(1), true), (None, false)] {
            let mut transaction = writer.pipeline();
            transaction.push("INSERT INTO parts (of) VALUES (?)").push(1);
            if of.is_none() {
                transaction.push("INSERT INTO nowhere VALUES (?)").push(1);
            }
            let error = transaction.commit().await.expect_err("there is no such thing");
            assert_eq!(matches!(error, CommitError::Unknown(_)), in_commit, "{error:?}");
        }
        let parts: i64 = sqlx::query_scalar("SELECT count(*) FROM parts")
            .fetch_one(&mut *writer)
            .await
            .expect("a number");
        assert_eq!(parts, 0);
    }

    #[tokio::test]
    async fn what_its_caller_left_did_not_happen() {
        let mut writer = writer().await;
        let mut transaction = writer.pipeline();
        add(&mut transaction, 70).await;
        transaction.run().await.expect("run");
        drop(transaction);
        writer.roll_back_abandoned().await;
        assert_eq!(things(&mut writer).await, []);
        // A commit whose future is dropped happened as a whole or not at all.
        let mut transaction = writer.pipeline();
        add(&mut transaction, 8).await;
        let gone = tokio::time::timeout(std::time::Duration::ZERO, transaction.commit()).await;
        writer.roll_back_abandoned().await;
        let left = things(&mut writer).await.len();
        assert!(left == 8 || (left == 0 && gone.is_err()), "{left}");
    }

    #[tokio::test]
    async fn rows_that_statements_return_are_counted() {
        let mut writer = writer().await;
        let mut transaction = writer.pipeline();
        add(&mut transaction, 100).await;
        transaction.push("UPDATE things SET name = ? WHERE id <= ? RETURNING 1").push("a").push(70);
        transaction.push("UPDATE things SET name = ? WHERE id > ? RETURNING 1").push("b").push(98);
        assert_eq!(transaction.commit().await.expect("written"), 72);
    }
}
