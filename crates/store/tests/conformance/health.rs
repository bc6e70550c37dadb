//! What an open store reports about itself.

use stateward_domain::time::LogClock;
use stateward_store::{Broken, Location};
use tokio::runtime::Handle;

use crate::support::ManualClock;

#[tokio::test]
async fn an_open_store_is_well_and_says_so_until_its_files_are_gone() {
    let parent = tempfile::tempdir().unwrap();
    let location = Location::Directory(parent.path().join("data"));
    let clock = LogClock::from(ManualClock::new());
    let store = stateward_store::open(&location, clock, &Handle::current()).await.unwrap();
    let checks = store.ports.health.health().await;
    assert!(!checks.is_empty());
    for check in &checks {
        assert!(check.ok && check.serious && check.detail.is_none(), "{check:?}");
        assert!(check.name.starts_with("store/"), "{check:?}");
    }
    assert_eq!(store.lifetime.in_place(), Ok(()));
    std::fs::rename(location.directory().unwrap(), parent.path().join("away")).unwrap();
    let failed = store.ports.health.health().await;
    assert_eq!(failed.iter().map(|check| check.name).collect::<Vec<_>>(), names(&checks));
    let files = failed.iter().find(|check| check.name == "store/files").unwrap();
    assert!(!files.ok && files.serious, "{files:?}");
    let detail = files.detail.as_deref().unwrap();
    assert!(detail.contains("was moved"), "{detail}");
    assert!(matches!(store.lifetime.in_place(), Err(Broken::Moved(_))));
    assert!(matches!(store.lifetime.broken().await, Broken::Moved(_)));
}

fn names(checks: &[stateward_domain::ports::health::Check]) -> Vec<&'static str> {
    checks.iter().map(|check| check.name).collect()
}

#[test]
fn a_url_names_a_store_of_one_adapter_or_none() {
    let directory = |url| match Location::of(url) {
        Ok(Location::Directory(found)) => Some(found),
        _ => None,
    };
    assert_eq!(directory("sqlite:a/b"), Some("a/b".into()));
    for url in ["postgres://u@h1,h2/db", "postgresql://h/db"] {
        assert!(matches!(Location::of(url), Ok(Location::Database(_))), "{url}");
    }
    for (url, line) in [
        ("", "use sqlite:"),
        ("a/b", "use sqlite:"),
        ("sqlite", "use sqlite:"),
        ("mysql://u:secret@h/db", "use sqlite:"),
        ("SQLITE:a", "use sqlite:"),
        ("postgres://u:secret@h", "names no database"),
    ] {
        let error = Location::of(url).unwrap_err().to_string();
        assert!(error.contains(line) && !error.contains("secret"), "{url}: {error}");
    }
}
