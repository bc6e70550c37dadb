//! Export and import, backup and restore.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use stateward_domain::id::Position;
use stateward_domain::ports::audit::{Auditor as _, RestoreHold as _};
use stateward_domain::ports::event_store::{EventStore, ReadError};
use stateward_domain::ports::projection::Projection;
use stateward_domain::time::Timestamp;
use stateward_store::sqlite::{ImportError, OpenError, Store, backup, import, restore};

use super::fixture::{Fixture, histories, project};

const NOW: Timestamp = Timestamp(77);

/// The files of a directory, by name, without those that a database keeps beside it during reads.
fn contents(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return vec!["nothing".to_owned()] };
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !name.ends_with("-wal") && !name.ends_with("-shm"));
    names.sort();
    names
}

#[tokio::test]
async fn an_export_that_was_put_back_is_exported_byte_for_byte() {
    for seed in 41..45 {
        let fixture = Fixture::with(&histories(seed, 10, 50)).await;
        let (text, before) = (fixture.exported().await, fixture.checkpoint().await);
        let other = Fixture::new();
        let log = import(text.as_bytes(), other.directory.path(), NOW).await.unwrap();
        assert_eq!((log.digest, log.log_id), (before.digest, before.log_id));
        assert_eq!(other.exported().await, text);

        let store = other.open().await;
        assert!(store.life.held, "what was put back changes nothing before a person looked");
        assert_ne!(store.log.head().await.unwrap().epoch, before.position.epoch);
        let gone = store.log.read_log(before.position, 1).await;
        assert!(matches!(gone, Err(ReadError::PositionGone { .. })), "{gone:?}");
        project(&store).await;
        let report = store.audit.verify(Some(&before), &|_| ()).await.unwrap();
        assert!(report.ok, "{:#?}", report.faults);
        assert_eq!(held(&fixture).await, held(&other).await, "claims follow from the events");
        let late = "SELECT count(*) FROM events, log WHERE recorded_at > time_floor";
        let late: i64 =
            sqlx::query_scalar(late).fetch_one(&mut other.tamper().await).await.unwrap();
        assert_eq!(late, 0, "time goes on from the newest event");
        store.restore_hold.clear().await.unwrap();
        store.close().await;
        drop(store);
        assert!(!other.open().await.life.held);
    }
}

/// All claims, without the times at which they were taken.
async fn held(fixture: &Fixture) -> Vec<(String, String, i64, String)> {
    let mut connection = fixture.tamper().await;
    let claims = "SELECT key, aggregate_id, sequence, value FROM claims \
                  WHERE key NOT GLOB 'n*' AND key NOT GLOB 'identity*' UNION ALL \
                  SELECT key, aggregate_id, 0, value FROM claims \
                  WHERE key GLOB 'n*' OR key GLOB 'identity*' ORDER BY 1";
    sqlx::query_as(claims).fetch_all(&mut connection).await.unwrap()
}

#[tokio::test]
async fn an_unsound_export_is_refused_with_its_line_and_leaves_nothing_behind() {
    let fixture = Fixture::with(&histories(46, 4, 30)).await;
    let text = fixture.exported().await;
    let lines: Vec<&str> = text.lines().collect();
    let changed = |line: usize, from: &str, to: &str| {
        let mut lines: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
        assert!(lines[line].contains(from), "{}", lines[line]);
        lines[line] = lines[line].replacen(from, to, 1);
        lines.join("\n") + "\n"
    };
    let removed = [&lines[..3], &lines[4..]].concat().join("\n") + "\n";
    for (what, export, place) in [
        ("a changed reason", changed(3, "because", "becauze"), "line 4"),
        ("a removed event", removed, "line 4"),
        (
            "another log",
            changed(
                5,
                "stateward:log:",
                "stateward:log:00000000-0000-4000-8000-000000000000\",\"x\":\"",
            ),
            "line 6",
        ),
        ("no JSON", changed(2, "{", "("), "line 3"),
        ("a part", changed(0, "\",\"data\"", "\",\"partial\":true,\"data\""), "part of the log"),
        (
            "another predecessor",
            changed(6, "\"previoushash\":\"", "\"previoushash\":\"0"),
            "line 7",
        ),
        ("cut off", text[..text.len() - 9].to_owned(), "cut off"),
        ("nothing", String::new(), "empty"),
    ] {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("data");
        let error = import(export.as_bytes(), &directory, NOW).await.expect_err(what);
        assert!(error.to_string().contains(place), "{what}: {error}");
        assert!(!directory.exists(), "{what} left {:?}", contents(&directory));
    }
}

#[tokio::test]
async fn an_import_goes_into_an_empty_store_only() {
    let fixture = Fixture::with(&histories(47, 3, 20)).await;
    let text = fixture.exported().await;
    let before = contents(fixture.directory.path());
    let refused = import(text.as_bytes(), fixture.directory.path(), NOW).await;
    assert!(matches!(refused, Err(ImportError::Store(OpenError::Occupied(_)))), "{refused:?}");
    assert_eq!(contents(fixture.directory.path()), before);
    assert_eq!(fixture.exported().await, text);

    let started = Fixture::new();
    let store = started.open().await;
    let locked = import(text.as_bytes(), started.directory.path(), NOW).await;
    assert!(matches!(locked, Err(ImportError::Store(OpenError::Locked(_)))), "{locked:?}");
    store.close().await;
    drop(store);
    import(text.as_bytes(), started.directory.path(), NOW).await.unwrap();
    assert_eq!(started.exported().await, text);
}

#[tokio::test]
async fn a_backup_of_an_open_store_is_whole_and_private() {
    let mut fixture = Fixture::new();
    let store = fixture.open().await;
    fixture.append_control_events(&store).await;
    fixture.append_histories(&store, &histories(48, 6, 40)).await;
    project(&store).await;
    std::fs::write(fixture.path("admin.token"), "secret").unwrap();
    let text = fixture.exported().await;
    for (log_only, files) in [(false, vec!["events.db", "views.db"]), (true, vec!["events.db"])] {
        let to = fixture.path(&format!("copy-{log_only}"));
        let copy =
            backup(fixture.directory.path(), &to, log_only, fixture.clock.clone()).await.unwrap();
        assert_eq!(copy.faults.count(), 0);
        assert_eq!(contents(&to), files);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&to), 0o700);
        assert!(files.iter().all(|name| mode(&to.join(name)) == 0o600));
        let again = backup(fixture.directory.path(), &to, log_only, fixture.clock.clone()).await;
        assert!(matches!(again, Err(OpenError::Occupied(_))));

        check_restore(&fixture, &to, &text, !log_only).await;
    }
    assert!(fixture.verify(None).await.ok, "the original goes on");
    drop(store);
}

/// Restores `from`, which holds the log `text`.
async fn check_restore(fixture: &Fixture, from: &Path, text: &str, views: bool) {
    let other = Fixture::new();
    let before = fixture.checkpoint().await;
    restore(from, other.directory.path(), fixture.clock.clone()).await.unwrap();
    assert_eq!(other.exported().await, text);
    let report = other.verify(Some(&before)).await;
    assert!(report.ok, "{:#?}", report.faults);
    assert_eq!(report.entities > 0, views, "views come along, and are of the new epoch");
    let twice = restore(from, other.directory.path(), fixture.clock.clone()).await;
    assert!(matches!(twice, Err(OpenError::Occupied(_))), "it would overwrite a log");

    let store = other.open().await;
    assert!(store.life.held);
    let head = store.log.head().await.unwrap();
    assert_ne!(head.epoch, before.position.epoch, "a new life");
    let stands = Projection::checkpoint(&*store.entities).await.unwrap();
    assert_eq!(stands, if views { head } else { Position::START });
}

#[tokio::test]
async fn what_is_not_there_is_neither_copied_nor_put_back() {
    let parent = tempfile::tempdir().unwrap();
    let (none, to) = (parent.path().join("none"), parent.path().join("to"));
    let clock = crate::support::ManualClock::new();
    let copy = backup(&none, &to, false, clock.clone()).await;
    assert!(matches!(copy, Err(OpenError::Missing(_))));
    assert!(matches!(restore(&none, &to, clock.clone()).await, Err(OpenError::Missing(_))));
    assert_eq!(contents(parent.path()), Vec::<String>::new());
    std::fs::create_dir(&none).unwrap();
    std::fs::write(none.join("events.db"), "no database".repeat(100)).unwrap();
    assert!(backup(&none, &to, false, clock.clone()).await.is_err());
    assert!(restore(&none, &to, clock.clone()).await.is_err());
    assert!(Store::open(&none, clock).await.is_err());
    assert!(!to.exists());
}
