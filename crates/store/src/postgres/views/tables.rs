//! The read model's tables: a rebuild fills new ones beside the live ones, and a pointer in the checkpoint's row says which
//! are live. Each set of tables has a number that is never used again.

use sqlx::AssertSqlSafe;
use stateward_domain::id::Position;
use stateward_domain::ports::projection::ModelError;
use stateward_domain::ports::store_error::StoreError;

use crate::postgres::column_arrays::ColumnType;
use crate::postgres::connect::Database;
use crate::postgres::views_db::{ViewsDb, parsed};
use crate::shared::views::index::Index;

/// Name of the model and of its checkpoint.
pub(super) const NAME: &str = "entities";
/// Checkpoint of a rebuild.
pub(super) const REBUILD: &str = "entities@beside";
/// Shape of the tables and of the fold in their rows; raise it when either changes, and the next start makes new ones.
/// `stored_fold.txt` has the members that it stands for; a test compares them.
pub(crate) const SHAPE: i64 = 1;
/// Numbers of one shape.
const PER_SHAPE: i64 = 1_000_000_000;
/// Condition of the partial indexes of drifted entities.
pub(super) const DRIFTED: &str = "drifted";

/// Types of the columns of a row of `entities`, in the order of its columns.
pub(in crate::postgres) const TYPES_OF_ENTITY: [ColumnType; 15] = [
    ColumnType::Uuid,
    ColumnType::Text,
    ColumnType::Text,
    ColumnType::Text,
    ColumnType::Text,
    ColumnType::Text,
    ColumnType::Flag,
    ColumnType::Flag,
    ColumnType::Text,
    ColumnType::Flag,
    ColumnType::Number,
    ColumnType::Number,
    ColumnType::Number,
    ColumnType::Json,
    ColumnType::Text,
];
/// As [`TYPES_OF_ENTITY`], of `operations`.
pub(in crate::postgres) const TYPES_OF_OPERATION: [ColumnType; 5] =
    [ColumnType::Uuid, ColumnType::Uuid, ColumnType::Text, ColumnType::Text, ColumnType::Text];
/// As [`TYPES_OF_ENTITY`], of `labels`.
pub(super) const TYPES_OF_LABEL: [ColumnType; 4] =
    [ColumnType::Text, ColumnType::Text, ColumnType::Text, ColumnType::Uuid];
/// As [`TYPES_OF_ENTITY`], of `counts`.
pub(super) const TYPES_OF_COUNT: [ColumnType; 6] = [
    ColumnType::Text,
    ColumnType::Text,
    ColumnType::Text,
    ColumnType::Text,
    ColumnType::Flag,
    ColumnType::Number,
];

/// Tables with the number `{n}`. Entities leave room in their pages, so that an update that changes neither state nor
/// drift touches no index.
const TABLES: &str = r#"
CREATE TABLE stateward_views.entities_v{n} (
    id         uuid PRIMARY KEY,
    namespace  text COLLATE "C" NOT NULL,
    kind       text COLLATE "C" NOT NULL,
    name       text COLLATE "C" NOT NULL,
    backend    text COLLATE "C" NOT NULL,
    state      text COLLATE "C" NOT NULL,
    deleted    boolean NOT NULL,
    drifted    boolean NOT NULL,
    blocked    text COLLATE "C" NOT NULL,
    dead       boolean NOT NULL,
    version    bigint NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    labels     jsonb NOT NULL,
    data       text NOT NULL
) WITH (fillfactor = 75);
CREATE TABLE stateward_views.labels_v{n} (
    namespace text COLLATE "C" NOT NULL,
    key       text COLLATE "C" NOT NULL,
    value     text COLLATE "C" NOT NULL,
    id        uuid NOT NULL,
    PRIMARY KEY (namespace, key, value, id)
);
CREATE TABLE stateward_views.counts_v{n} (
    backend text COLLATE "C" NOT NULL,
    kind    text COLLATE "C" NOT NULL,
    state   text COLLATE "C" NOT NULL,
    blocked text COLLATE "C" NOT NULL,
    dead    boolean NOT NULL,
    number  bigint NOT NULL,
    PRIMARY KEY (backend, kind, state, blocked, dead)
) WITH (fillfactor = 50);
CREATE TABLE stateward_views.operations_v{n} (
    id        uuid PRIMARY KEY,
    entity    uuid NOT NULL,
    namespace text COLLATE "C" NOT NULL,
    state     text COLLATE "C" NOT NULL,
    data      text NOT NULL
) WITH (fillfactor = 85);
CREATE INDEX operations_v{n}_entity ON stateward_views.operations_v{n} (entity, id);
CREATE INDEX operations_v{n}_namespace ON stateward_views.operations_v{n} (namespace, id);
CREATE INDEX operations_v{n}_state ON stateward_views.operations_v{n} (state, id);
"#;

/// Deletes what an unfinished rebuild and earlier live tables left, then makes tables for a rebuild. Tables first, their
/// checkpoint last: a delivery locks them in the same order.
const BEGIN_REBUILD: &str = "
    SELECT tables INTO live FROM stateward_views.checkpoints WHERE name = '{name}';
    FOR old IN SELECT relname FROM pg_class
        WHERE relnamespace = 'stateward_views'::regnamespace AND relkind = 'r'
        AND relname ~ '^(entities|labels|counts|operations)_v[0-9]+$'
        AND relname !~ ('_v' || coalesce(live, 0) || '$') ORDER BY relname
    LOOP
        EXECUTE format('DROP TABLE stateward_views.%I', old);
    END LOOP;
    DELETE FROM stateward_views.checkpoints WHERE name = '{rebuild}';
    DELETE FROM stateward_views.quarantine WHERE model = '{rebuild}';
    n := {number};
    EXECUTE replace($tables${tables}$tables$, '{n}', n::text);
    INSERT INTO stateward_views.checkpoints (name, position, tables) VALUES ('{rebuild}', repeat('0', 40), n);";

/// Swaps the rebuild with the tables `$3` in; NULL = it is not the one that has begun. Rows are locked in the order in
/// which `swap_v1` locks them.
pub(super) const SWAP: &str = "WITH locked AS MATERIALIZED ( \
         SELECT name, tables FROM stateward_views.checkpoints WHERE name IN ($1, $2) \
         ORDER BY name FOR UPDATE \
     ) \
     SELECT CASE WHEN EXISTS (SELECT FROM locked WHERE name = $2 AND tables = $3) \
         THEN stateward_views.swap_v1($1, $2) END";

/// Makes the live tables unless there are some of this shape.
const PREPARE: &str = "
    IF EXISTS (SELECT FROM stateward_views.checkpoints WHERE name = '{name}' AND tables / {per_shape} = {shape}) THEN
        RETURN;
    END IF;
    n := {first} + nextval('stateward_views.tables');
    EXECUTE replace($tables${tables}$tables$, '{n}', n::text);
    INSERT INTO stateward_views.checkpoints (name, position, tables) VALUES ('{name}', repeat('0', 40), n)
        ON CONFLICT (name) DO UPDATE SET position = excluded.position, tables = excluded.tables;
    DELETE FROM stateward_views.quarantine WHERE model = '{name}';";

/// A block that runs alone among the processes of the database.
fn block(body: &str) -> String {
    let indexes = Index::ALL.map(index);
    let body = body
        .replace("{tables}", &(TABLES.to_owned() + &indexes.concat()))
        .replace("{name}", NAME)
        .replace("{rebuild}", REBUILD)
        .replace("{first}", &(SHAPE * PER_SHAPE).to_string())
        .replace("{per_shape}", &PER_SHAPE.to_string())
        .replace("{shape}", &SHAPE.to_string());
    format!(
        "DO $block$ DECLARE n bigint; live bigint; old name; BEGIN \
         PERFORM pg_advisory_xact_lock(x'5355'::int, 0); \
         PERFORM stateward_views.lazily(); {body} END $block$"
    )
}

/// The statement that creates an index of the entities' table.
fn index(index: Index) -> String {
    let columns: String = index.columns().map(|column| format!("{}, ", column.name())).collect();
    let only = if index.drifted_only() { format!(" WHERE {DRIFTED}") } else { String::new() };
    let name = index.name();
    format!(
        "CREATE INDEX entities_v{{n}}_{name} ON stateward_views.entities_v{{n}} ({columns}deleted, id){only};\n"
    )
}

/// Makes the live tables unless they are there. Idempotent; several processes may call it at once.
pub(super) async fn prepare(database: &Database) -> Result<(), StoreError> {
    database.execute(sqlx::query(AssertSqlSafe(block(PREPARE)))).await.map(drop)
}

/// Makes empty tables beside the live ones, and drops all others; returns their number.
pub(super) async fn begin_rebuild(db: &ViewsDb) -> Result<i64, StoreError> {
    let number = sqlx::query_as("SELECT $1 + nextval('stateward_views.tables')");
    let number: i64 = db.one(number.bind(SHAPE * PER_SHAPE)).await?;
    let begin = block(BEGIN_REBUILD).replace("{number}", &number.to_string());
    db.database.execute(sqlx::query(AssertSqlSafe(begin))).await?;
    Ok(number)
}

/// Which tables an instance of the model uses, and what they have applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pointer {
    pub(super) position: Position,
    /// Number of its tables.
    pub(super) tables: i64,
    /// Counts changes that did not move the position: of quarantine, and swaps.
    pub(super) changes: i64,
    /// Streams in quarantine.
    pub(super) set_aside: Vec<String>,
}

impl Pointer {
    /// The pointer of the instance `name`; `None` = there is none.
    pub(super) async fn read(db: &ViewsDb, name: &str) -> Result<Option<Self>, ModelError> {
        let read = "SELECT c.position, c.tables, c.changes, \
             ARRAY(SELECT q.stream FROM stateward_views.quarantine q WHERE q.model = c.name) \
             FROM stateward_views.checkpoints c WHERE c.name = $1";
        let row: Option<(String, i64, i64, Vec<String>)> =
            db.database.fetch_optional(sqlx::query_as(read).bind(name)).await?;
        let Some((position, tables, changes, set_aside)) = row else {
            return Ok(None);
        };
        let position = parsed(("checkpoints", "position"), name, &position)?;
        Ok(Some(Self { position, tables, changes, set_aside }))
    }
}
