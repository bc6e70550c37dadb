//! A kind of a driver under test, with helpers for its calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use stateward_domain::failure::Failure;
use stateward_domain::id::{EntityId, ExternalId, Incarnation, KindName, OwnerKey};
use stateward_domain::kind::KindSpec;
use stateward_domain::ports::driver::{
    Create, Driver, Object, ObjectRef, Observation, Outcome, Plan, Search, Update,
};
use stateward_domain::time::Timestamp;
use uuid::Uuid;

use crate::call_control::{Control, context};
use crate::{jira, openstack};

/// How long a list may lag behind a creation.
const LISTED_IN: Duration = Duration::from_secs(10);

/// Changes the object without the driver.
type Tamper = Box<dyn Fn(&ExternalId) + Send + Sync>;

pub(crate) struct Subject {
    pub(crate) driver: Arc<dyn Driver>,
    pub(crate) kind: KindName,
    /// Desired states: the first one is created, each further one differs from it in one field.
    pub(crate) desired: Vec<Value>,
    /// A desired state with an immutable field changed.
    pub(crate) immutable: Value,
    /// Those of `desired`, at its end, that cannot be reverted: a size that only grows.
    pub(crate) one_way: Vec<Value>,
    /// `None` if only the driver can change the object: then the drift is made by an update.
    pub(crate) tamper: Option<Tamper>,
    /// The owner of the objects; the incarnation counts up where an object's id cannot be reused.
    pub(crate) owner: EntityId,
    pub(crate) incarnation: AtomicU64,
    _folder: Option<tempfile::TempDir>,
}

fn settings(value: Value) -> Map<String, Value> {
    let Value::Object(settings) = value else { unreachable!("settings are an object") };
    settings
}

fn local(kind: &str) -> Subject {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let keys = settings(json!({ "root": root.display().to_string() }));
    let driver = crate::call_control::connect("local", &keys).unwrap();
    let file = kind == "local.file";
    let (owner, group) = (rustix::process::geteuid(), rustix::process::getegid());
    let mut first = json!({
        "path": "a/b", "mode": "0750",
        "owner": owner.as_raw().to_string(), "group": group.as_raw().to_string(),
    });
    let mut changes = vec![("mode", "0700")];
    if file {
        first["content"] = json!("one");
        changes.push(("content", "two"));
    }
    if owner.is_root() {
        changes.extend([("owner", "1234"), ("group", "1234")]);
    } else {
        crate::skip::skipped("owner and group stay as they are: only root may change them");
    }
    let with = |(field, value): (&str, &str)| {
        let mut other = first.clone();
        other[field] = Value::from(value);
        other
    };
    let immutable = with(("path", "elsewhere"));
    let desired = [vec![first.clone()], changes.into_iter().map(with).collect()].concat();
    let tamper = move |id: &ExternalId| {
        use std::os::unix::fs::PermissionsExt;
        let path = root.join(id.as_str());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o770)).unwrap();
        if file {
            std::fs::write(&path, "edited by hand").unwrap();
        }
    };
    Subject {
        driver,
        kind: KindName::from(kind),
        desired,
        immutable,
        one_way: Vec::new(),
        tamper: Some(Box::new(tamper)),
        owner: OWNER,
        incarnation: AtomicU64::new(1),
        _folder: Some(folder),
    }
}

fn fake() -> Subject {
    let driver = crate::call_control::connect("fake", &Map::new()).unwrap();
    let desired = vec![
        json!({"size": 1, "colour": "blue", "immutable": 1}),
        json!({"size": 2, "colour": "blue", "immutable": 1}),
        json!({"size": 1, "colour": "red", "immutable": 1}),
    ];
    let immutable = json!({"size": 1, "colour": "blue", "immutable": 2});
    Subject::new(&driver, "fake.thing", desired, immutable)
}

/// Owner of the objects in backends that only one test uses.
const OWNER: EntityId = EntityId(Uuid::from_u128(1));

/// Every kind of every driver that needs no external service.
pub(crate) fn all() -> Vec<Subject> {
    let subjects = vec![local("local.file"), local("local.directory"), fake()];
    let mut covered: Vec<_> = subjects.iter().map(|s| s.kind.clone()).collect();
    let others = openstack::KINDS.iter().chain(jira::KINDS);
    covered.extend(others.map(|&kind| KindName::from(kind)));
    let mut known: Vec<_> = stateward_drivers::kinds().into_iter().map(|k| k.name).collect();
    covered.sort();
    known.sort();
    assert_eq!(covered, known, "a kind without a subject");
    subjects
}

pub(crate) fn key(number: u128) -> OwnerKey {
    OwnerKey::new(EntityId(Uuid::from_u128(number)), Incarnation(1))
}

impl Subject {
    /// A subject whose drift is made by an update.
    pub(crate) fn new(
        driver: &Arc<dyn Driver>,
        kind: &str,
        desired: Vec<Value>,
        immutable: Value,
    ) -> Self {
        Self {
            driver: Arc::clone(driver),
            kind: KindName::from(kind),
            desired,
            immutable,
            one_way: Vec::new(),
            tamper: None,
            owner: OWNER,
            incarnation: AtomicU64::new(1),
            _folder: None,
        }
    }

    pub(crate) fn spec(&self) -> &KindSpec {
        self.driver.kinds().iter().find(|spec| spec.name == self.kind).unwrap()
    }

    /// The desired state as the engine would store it.
    pub(crate) fn checked(&self, desired: &Value) -> Value {
        self.driver.check(&self.kind, desired).expect("valid")
    }

    /// Creates an object; waits while the backend works on it.
    pub(crate) async fn create(&self, desired: &Value) -> Result<ExternalId, Failure> {
        let control = Control::new();
        let create =
            Create { kind: self.kind.clone(), owner_key: self.key(), spec: self.checked(desired) };
        let context = context(&control);
        let outcome = loop {
            match self.driver.create(&context, &create).await {
                // What another creation made may not be shown yet; nothing was tried.
                Err(failure) if failure.is_settling() => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                outcome => break outcome?,
            }
        };
        let external_id = self.finished(outcome).await?;
        Ok(external_id.expect("a creation names its object"))
    }

    /// Waits while the backend works on it.
    pub(crate) async fn finished(&self, outcome: Outcome) -> Result<Option<ExternalId>, Failure> {
        let mut outcome = outcome;
        loop {
            match outcome {
                Outcome::Done { external_id, .. } => return Ok(external_id),
                Outcome::Pending { handle, poll_after_ms } => {
                    tokio::time::sleep(Duration::from_millis(poll_after_ms)).await;
                    outcome = self.driver.resume(&context(&Control::new()), &handle).await?;
                }
            }
        }
    }

    pub(crate) fn target(&self, id: &ExternalId) -> ObjectRef {
        ObjectRef { kind: self.kind.clone(), external_id: id.clone(), owner_key: self.key() }
    }

    pub(crate) async fn observe(&self, id: &ExternalId) -> Observation {
        let control = Control::new();
        loop {
            match self.driver.observe(&context(&control), &self.target(id)).await {
                // The backend shows what was before the last change.
                Err(failure) if failure.is_settling() => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                seen => return seen.unwrap(),
            }
        }
    }

    /// Whether the first page of the list shows the object; a list may lag behind a creation.
    pub(crate) async fn is_listed(&self, id: &ExternalId) -> bool {
        let until = Instant::now() + LISTED_IN;
        loop {
            let control = Control::new();
            let page = self.driver.list(&context(&control), &self.kind, None).await.unwrap();
            if page.objects.iter().any(|object| object.external_id == *id) {
                return true;
            }
            if Instant::now() > until {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Asserts that an observation proves the absence: it succeeds, and gives a proof.
    pub(crate) async fn is_proved_absent(&self, id: &ExternalId) {
        match self.observe(id).await {
            Observation::Absent { proof } => assert!(!proof.is_empty(), "{}", self.kind),
            other => panic!("{}: {other:?}", self.kind),
        }
    }

    /// The object, which has to exist.
    pub(crate) async fn present(&self, id: &ExternalId) -> Object {
        match self.observe(id).await {
            Observation::Present(object) => object,
            other => panic!("{}: {other:?}", self.kind),
        }
    }

    pub(crate) async fn update(&self, id: &ExternalId, desired: &Value) -> Result<(), Failure> {
        let control = Control::new();
        let spec = self.checked(desired);
        let observed = self.present(id).await.attributes;
        let fields = match self.driver.plan(&self.kind, &observed, &spec) {
            Plan::Update { fields } | Plan::Replace { fields } => fields,
            Plan::Noop => return Ok(()),
        };
        let update = Update { target: self.target(id), spec, fields, observed };
        let outcome = self.driver.update(&context(&control), &update).await?;
        self.finished(outcome).await.map(drop)
    }

    pub(crate) async fn delete(&self, id: &ExternalId) -> Result<(), Failure> {
        let control = Control::new();
        let outcome = self.driver.delete(&context(&control), &self.target(id)).await?;
        self.finished(outcome).await.map(drop)
    }

    /// Deletes the objects that a test left behind; the next test uses another incarnation.
    pub(crate) async fn clear(&self) {
        for object in self.find(&self.desired[0]).await {
            // Right after the first reply of a backend, an empty search proves nothing.
            while let Err(failure) = self.delete(&object.external_id).await {
                assert!(failure.is_settling(), "{failure}");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
        self.next_incarnation();
    }

    pub(crate) fn key(&self) -> OwnerKey {
        OwnerKey::new(self.owner, Incarnation(self.incarnation.load(Ordering::SeqCst)))
    }

    pub(crate) fn next_incarnation(&self) {
        self.incarnation.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) async fn find(&self, desired: &Value) -> Vec<Object> {
        let control = Control::new();
        let search = Search {
            kind: self.kind.clone(),
            owner_key: self.key(),
            spec: self.checked(desired),
            since: Some(Timestamp(0)),
        };
        loop {
            match self.driver.find(&context(&control), &search).await {
                // The backend has just begun to answer, so an empty search proves nothing.
                Err(failure) if failure.is_settling() => {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                found => return found.unwrap(),
            }
        }
    }

    pub(crate) async fn plan(&self, id: &ExternalId, desired: &Value) -> Plan {
        let observed = self.present(id).await.attributes;
        self.driver.plan(&self.kind, &observed, &self.checked(desired))
    }
}
