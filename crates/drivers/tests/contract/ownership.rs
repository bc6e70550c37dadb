//! Owner, group and mode of `local.*`: managed values, kept values, and every mode.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value, json};
use stateward_domain::failure::Failure;
use stateward_domain::id::{ExternalId, KindName};
use stateward_domain::ports::driver::{Create, Driver, ObjectRef, Observation, Plan, Update};

use crate::call_control::{Control, context};
use crate::kind_under_test::key;

struct Local {
    driver: Arc<dyn Driver>,
    root: PathBuf,
    _folder: tempfile::TempDir,
}

fn local() -> Local {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let keys = Map::from_iter([("root".to_owned(), Value::from(root.display().to_string()))]);
    Local { driver: crate::call_control::connect("local", &keys).unwrap(), root, _folder: folder }
}

/// Whether this process may change owners; records the skip if not.
fn gives_away() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        crate::skip::skipped("only root gives files to others");
    }
    root
}

/// Owner, group and mode in octal.
fn of(path: &Path) -> (u32, u32, String) {
    let now = std::fs::metadata(path).unwrap();
    (now.uid(), now.gid(), format!("{:o}", now.mode() & 0o7777))
}

fn become_of(path: &Path, owner: u32, group: u32, mode: u32) {
    chown(path, Some(owner), Some(group)).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

impl Local {
    fn checked(&self, kind: &str, desired: &Value) -> Value {
        self.driver.check(&KindName::from(kind), desired).expect("valid")
    }

    async fn create(&self, kind: &str, desired: &Value) -> Result<(), Failure> {
        let spec = self.checked(kind, desired);
        let create = Create { kind: KindName::from(kind), owner_key: key(1), spec };
        self.driver.create(&context(&Control::new()), &create).await.map(drop)
    }

    async fn observed(&self, kind: &str, path: &str) -> (ObjectRef, Value) {
        let external_id = ExternalId(path.to_owned());
        let target = ObjectRef { kind: KindName::from(kind), external_id, owner_key: key(1) };
        match self.driver.observe(&context(&Control::new()), &target).await.unwrap() {
            Observation::Present(object) => (target, object.attributes),
            other => panic!("{other:?}"),
        }
    }

    async fn plan(&self, kind: &str, desired: &Value) -> Plan {
        let spec = self.checked(kind, desired);
        let (_, observed) = self.observed(kind, desired["path"].as_str().unwrap()).await;
        self.driver.plan(&KindName::from(kind), &observed, &spec)
    }

    /// Makes the object as desired; returns the fields that were different.
    async fn repair(&self, kind: &str, desired: &Value) -> Vec<String> {
        let spec = self.checked(kind, desired);
        let (target, observed) = self.observed(kind, desired["path"].as_str().unwrap()).await;
        let Plan::Update { fields } = self.driver.plan(&target.kind, &observed, &spec) else {
            panic!("{desired}: there is nothing to repair");
        };
        let update = Update { target, spec, fields: fields.clone(), observed };
        self.driver.update(&context(&Control::new()), &update).await.unwrap();
        assert_eq!(self.plan(kind, desired).await, Plan::Noop);
        fields
    }
}

#[tokio::test]
async fn a_repair_of_the_content_keeps_owner_group_and_mode() {
    if !gives_away() {
        return;
    }
    let local = local();
    let desired = json!({"path": "tool", "content": "one"});
    local.create("local.file", &desired).await.unwrap();
    let path = local.root.join("tool");
    for mode in [0o4755, 0o2755, 0o1644, 0o640, 0o200] {
        std::fs::write(&path, "edited by hand").unwrap();
        become_of(&path, 1_000, 1_001, mode);
        assert_eq!(local.repair("local.file", &desired).await, ["/content"]);
        assert_eq!(of(&path), (1_000, 1_001, format!("{mode:o}")));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
    }
}

#[tokio::test]
async fn owner_and_group_that_are_managed_are_put_back_and_the_rest_stays() {
    if !gives_away() {
        return;
    }
    let local = local();
    for kind in ["local.file", "local.directory"] {
        let mut desired = json!({"path": kind, "owner": "1234", "group": "root"});
        if kind == "local.file" {
            desired["content"] = json!("one");
        }
        local.create(kind, &desired).await.unwrap();
        let path = local.root.join(kind);
        assert_eq!((of(&path).0, of(&path).1), (1_234, 0));
        assert_eq!(local.plan(kind, &desired).await, Plan::Noop);
        become_of(&path, 0, 5, 0o700);
        assert_eq!(local.repair(kind, &desired).await, ["/group", "/owner"]);
        assert_eq!(of(&path), (1_234, 0, "700".to_owned()), "{kind}");
    }
    // A new owner does not inherit the set-ID bits of the old one.
    let desired = json!({"path": "local.file", "content": "two", "owner": "77"});
    become_of(&local.root.join("local.file"), 1_234, 0, 0o6755);
    local.repair("local.file", &desired).await;
    assert_eq!(of(&local.root.join("local.file")), (77, 0, "755".to_owned()));
}

#[tokio::test]
async fn an_owner_is_the_same_by_name_and_by_id() {
    let local = local();
    let plain = json!({"path": "a"});
    local.create("local.directory", &plain).await.unwrap();
    let (_, observed) = local.observed("local.directory", "a").await;
    for (owner, group) in
        [(&observed["owner"], &observed["group"]), (&observed["uid"], &observed["gid"])]
    {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let desired = json!({"path": "a", "owner": text(owner), "group": text(group)});
        assert_eq!(local.plan("local.directory", &desired).await, Plan::Noop, "{desired}");
    }
    let other = json!({"path": "a", "owner": "4000000000"});
    let fields = vec!["/owner".to_owned()];
    assert_eq!(local.plan("local.directory", &other).await, Plan::Update { fields });
}

#[tokio::test]
async fn every_mode_can_be_declared_and_is_what_is_seen() {
    let local = local();
    for mode in ["1777", "2775", "4755", "7777", "0755", "0000", "0200", "4200"] {
        let hidden = mode.as_bytes()[1] < b'4';
        for kind in ["local.directory", "local.file"] {
            let mut desired = json!({"path": format!("{kind}-{mode}"), "mode": mode});
            if kind == "local.file" {
                desired["content"] = json!("x");
                if hidden && !rustix::process::geteuid().is_root() {
                    let refused = local.create(kind, &desired).await.unwrap_err();
                    assert_eq!(refused.code, "mode_hides_content");
                    continue;
                }
            }
            local.create(kind, &desired).await.unwrap();
            let (_, observed) = local.observed(kind, desired["path"].as_str().unwrap()).await;
            assert_eq!(observed["mode"], mode, "{kind}");
            assert_eq!(local.plan(kind, &desired).await, Plan::Noop, "{kind} {mode}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_as_desired_is_not_left_behind() {
    let local = local();
    for kind in ["local.file", "local.directory"] {
        let mut desired = json!({"path": "new/a", "owner": "no-such-account"});
        if kind == "local.file" {
            desired["content"] = json!("x");
        }
        let refused = local.create(kind, &desired).await.unwrap_err();
        assert_eq!(refused.code, "unknown_owner");
        assert!(!local.root.join("new").exists(), "{kind}");
    }
}
