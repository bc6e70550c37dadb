//! Tests of the driver `local` alone: nothing outside its root is reachable.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use serde_json::{Map, Value, json};
use stateward_domain::failure::ErrorClass;
use stateward_domain::id::{ExternalId, KindName};
use stateward_domain::ports::driver::{Create, Driver, ObjectRef, Observation};

use crate::call_control::{Control, context};
use crate::kind_under_test::key;

fn connect(root: &Path) -> std::sync::Arc<dyn Driver> {
    let keys = Map::from_iter([("root".to_owned(), Value::from(root.display().to_string()))]);
    crate::call_control::connect("local", &keys).unwrap()
}

async fn create(driver: &dyn Driver, path: &str) -> Result<(), ErrorClass> {
    let kind = KindName::from("local.file");
    let desired = json!({"path": path, "content": "x"});
    let Ok(spec) = driver.check(&kind, &desired) else { return Err(ErrorClass::Invalid) };
    let create = Create { kind, owner_key: key(1), spec };
    let outcome = driver.create(&context(&Control::new()), &create).await;
    outcome.map(drop).map_err(|failure| failure.class)
}

#[tokio::test]
async fn no_path_leads_out() {
    let folder = tempfile::tempdir().unwrap();
    let (root, outside) = (folder.path().join("root"), folder.path().join("outside"));
    std::fs::create_dir(&outside).unwrap();
    let driver = connect(&root);
    symlink(&outside, root.join("link")).unwrap();
    symlink("..", root.join("up")).unwrap();
    symlink(outside.join("target"), root.join("dangling")).unwrap();
    for path in [
        "../outside/x",
        "/etc/stateward-test",
        "a/../../outside/x",
        "./../outside/x",
        "link/x",
        "up/outside/x",
        "a//../x",
        "",
        ".",
        "x\0y",
    ] {
        assert!(create(&*driver, path).await.is_err(), "{path:?}");
    }
    // The link itself occupies the path, whatever its target, and is not followed.
    assert!(create(&*driver, "dangling").await.is_err());
    assert!(std::fs::read_dir(&outside).unwrap().next().is_none(), "something got out");
}

#[tokio::test]
async fn a_link_is_never_taken_for_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let driver = connect(&root);
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    symlink(&secret, root.join("file")).unwrap();
    let target = ObjectRef {
        kind: KindName::from("local.file"),
        external_id: ExternalId("file".to_owned()),
        owner_key: key(1),
    };
    let context = context(&Control::new());
    let seen = driver.observe(&context, &target).await.unwrap();
    assert!(matches!(seen, Observation::Absent { .. }), "{seen:?}");
    driver.delete(&context, &target).await.unwrap();
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "secret");
    assert!(root.join("file").is_symlink(), "what is not ours stays");
}

#[tokio::test]
async fn parents_are_made_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let driver = connect(&root);
    create(&*driver, "a/b/c").await.unwrap();
    let target = ObjectRef {
        kind: KindName::from("local.file"),
        external_id: ExternalId("a/b/c".to_owned()),
        owner_key: key(1),
    };
    driver.delete(&context(&Control::new()), &target).await.unwrap();
    assert!(root.join("a/b").is_dir(), "no entity owns the parents");
}

#[tokio::test]
async fn a_directory_with_something_in_it_is_never_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let driver = connect(&root);
    create(&*driver, "kept/by-another-client").await.unwrap();
    let target = ObjectRef {
        kind: KindName::from("local.directory"),
        external_id: ExternalId("kept".to_owned()),
        owner_key: key(1),
    };
    let refused = driver.delete(&context(&Control::new()), &target).await.expect_err("refused");
    assert_eq!(refused.class, ErrorClass::Conflict);
    assert!(root.join("kept/by-another-client").is_file());
}

#[tokio::test]
async fn another_root_in_its_place_is_another_identity() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let before = connect(&root).identity(&context(&Control::new())).await.unwrap();
    let again = connect(&root).identity(&context(&Control::new())).await.unwrap();
    assert_eq!(before, again, "the marker stays");
    std::fs::rename(&root, folder.path().join("away")).unwrap();
    let other = connect(&root).identity(&context(&Control::new())).await.unwrap();
    assert_ne!(before, other);
}

#[tokio::test]
async fn a_closed_directory_proves_nothing() {
    if rustix::process::geteuid().is_root() {
        crate::skip::skipped("permissions do not stop root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let driver = connect(&root);
    create(&*driver, "closed/file").await.unwrap();
    let closed = root.join("closed");
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o000)).unwrap();
    let target = ObjectRef {
        kind: KindName::from("local.file"),
        external_id: ExternalId("closed/file".to_owned()),
        owner_key: key(1),
    };
    let seen = driver.observe(&context(&Control::new()), &target).await;
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
    assert!(!matches!(seen, Ok(Observation::Absent { .. })), "{seen:?}");
}
