//! Owner keys: one that was cleared is written again, another owner's is never overwritten. Over all kinds.

use super::*;
use crate::openstack::testing::Stub;

/// Kinds whose key cannot be cleared or cannot be written again, and why.
const EXEMPT: &[(&str, &str)] = &[
    ("openstack.keypair", "has no place for a key"),
    ("openstack.server_group", "the key is in the name, which cannot change"),
    ("openstack.backup", "consists of what carries the key"),
];

fn other() -> OwnerKey {
    OwnerKey::new(EntityId(Uuid::from_u128(77)), Incarnation(1))
}

/// The id of the example: that of an image follows from its key.
fn id_of(name: &str) -> String {
    if name == "openstack.image" { image::image_id(&key()) } else { "x1".to_owned() }
}

/// An object of `kind`, as its service shows it, that carries `mark` where it is kept.
fn object(kind: &dyn Kind, mark: Option<&OwnerKey>) -> Value {
    let text = mark.map(owner_key::encode);
    let mut row = json!({
        "id": id_of(kind.meta().name), "name": "a", "description": "text", "tags": ["user"], "metadata": {"user": "1"},
        "status": "ACTIVE", "flavor": {"original_name": "m1.tiny"}, "image": {"id": "i"}, "size": 1,
    });
    let Some(text) = text else { return row };
    match kind.meta().name {
        "openstack.volume" | "openstack.snapshot" => {
            row["metadata"]["managed_entity"] = json!(text);
        }
        "openstack.image" => row["managed_entity"] = json!(text),
        _ => row["tags"] = json!(["user", text]),
    }
    row
}

fn settled(kind: &dyn Kind, mut row: Value) -> Value {
    match kind.meta().name {
        "openstack.volume" | "openstack.snapshot" => row["status"] = json!("available"),
        "openstack.image" => row["status"] = json!("active"),
        _ => {}
    }
    row
}

async fn cloud(kind: &dyn Kind, row: Value) -> Stub {
    let row = settled(kind, row);
    let (wrapper, path) = (kind.meta().row, format!("/{}", row["id"].as_str().unwrap()));
    stub(move |asked, _| {
        if asked.path.ends_with(&path) || asked.path.contains(&format!("{path}?")) {
            let row = row.clone();
            return Answer::json(
                200,
                if wrapper.is_empty() { row } else { json!({ wrapper: row }) },
            );
        }
        let rows = ["ports", "flavors", "networks", "floatingips"]
            .map(|list| (list.to_owned(), json!([])));
        let mut body: Map<_, _> = rows.into_iter().collect();
        body.extend(["quota", "quota_set"].map(|set| (set.to_owned(), json!({}))));
        Answer::json(200, Value::Object(body))
    })
    .await
}

fn changes(stub: &Stub) -> Vec<String> {
    let asked = stub.asked("/").into_iter();
    let changes =
        asked.filter(|asked| asked.method != "GET" && !asked.path.starts_with("/v3/auth"));
    changes.map(|asked| format!("{} {} {}", asked.method, asked.path, asked.body)).collect()
}

fn marked() -> impl Iterator<Item = &'static dyn Kind> {
    KINDS.iter().copied().filter(|kind| EXEMPT.iter().all(|(name, _)| *name != kind.meta().name))
}

async fn seen(kind: &dyn Kind, setup: &Setup, target: &ObjectRef) -> Value {
    let Observation::Present(object) = observe(kind, setup.client(), target).await.unwrap() else {
        panic!("{} is there", kind.meta().name)
    };
    object.attributes
}

#[tokio::test]
async fn a_mark_that_was_cleared_is_written_again() {
    for kind in marked() {
        let name = kind.meta().name;
        let stub = cloud(kind, object(kind, None)).await;
        let setup = Setup::new(&stub.url);
        let target = target(name, &id_of(name));
        let observed = seen(kind, &setup, &target).await;
        let Plan::Update { fields } = plan(kind, &observed, &json!({})) else {
            panic!("{name}: nothing is missed: {observed:#}")
        };
        assert_eq!(fields, ["/owner_key"], "{name}");
        let update = Update { target, spec: json!({}), fields, observed };
        super::super::update(kind, setup.client(), &update).await.unwrap();
        let changes = changes(&stub);
        let [one] = &changes[..] else { panic!("{name}: {changes:?}") };
        assert!(one.contains(&owner_key::encode(&key())), "{name}: {one}");
        assert!(!one.contains("user"), "{name}: nothing else is written: {one}");
    }
}

#[tokio::test]
async fn an_object_that_was_adopted_or_is_marked_misses_nothing() {
    let adopted = OwnerKey::new(EntityId(Uuid::from_u128(9)), Incarnation::default());
    for kind in marked() {
        let name = kind.meta().name;
        for (mark, owner_key) in
            [(None, adopted.clone()), (Some(key()), key()), (Some(other()), key())]
        {
            let stub = cloud(kind, object(kind, mark.as_ref())).await;
            let setup = Setup::new(&stub.url);
            let target = ObjectRef { owner_key, ..target(name, &id_of(name)) };
            // An image is another owner's only under that owner's id.
            if name == "openstack.image" && mark == Some(other()) {
                continue;
            }
            let observed = seen(kind, &setup, &target).await;
            assert_eq!(plan(kind, &observed, &json!({})), Plan::Noop, "{name}: {mark:?}");
        }
    }
}

#[tokio::test]
async fn a_mark_that_came_meanwhile_is_left() {
    for kind in marked().filter(|kind| kind.meta().name != "openstack.image") {
        let name = kind.meta().name;
        let stub = cloud(kind, object(kind, Some(&other()))).await;
        let setup = Setup::new(&stub.url);
        let update = Update {
            target: target(name, "x1"),
            spec: json!({}),
            fields: vec!["/owner_key".to_owned()],
            observed: json!({}),
        };
        super::super::update(kind, setup.client(), &update).await.unwrap();
        assert!(changes(&stub).is_empty(), "{name}: {:?}", changes(&stub));
    }
}

#[tokio::test]
async fn the_mark_of_another_owner_is_never_overwritten() {
    let (ours, theirs) = (owner_key::encode(&key()), owner_key::encode(&other()));
    for kind in marked() {
        let name = kind.meta().name;
        let mut places = vec![object(kind, Some(&other()))];
        // Between the creation and its tag the key is in the description.
        if kind.meta().service == crate::openstack::service::Service::Network {
            let mut fresh = object(kind, None);
            fresh["description"] = json!(theirs);
            places.push(fresh);
        }
        if name == "openstack.image" {
            places[0]["tags"] = json!([theirs]);
        }
        for row in places {
            for (field, value) in [
                ("description", json!("new")),
                ("tags", json!(["new"])),
                ("metadata", json!({"new": "1"})),
            ] {
                let fields = vec![format!("/{field}")];
                if kind.meta().field(&fields[0]).is_none() {
                    continue;
                }
                let stub = cloud(kind, row.clone()).await;
                let setup = Setup::new(&stub.url);
                let (target, spec) = (target(name, &id_of(name)), json!({ field: value }));
                let update = Update { target, spec, fields, observed: json!({}) };
                super::super::update(kind, setup.client(), &update).await.unwrap();
                let changes = changes(&stub);
                assert!(
                    changes.iter().any(|one| one.contains("new")),
                    "{name}: {field}: {changes:?}"
                );
                assert!(
                    changes.iter().all(|one| !one.contains(&ours)),
                    "{name}: {field}: {changes:?}"
                );
                let replaces = row[field].to_string().contains(&theirs);
                let first = changes.iter().position(|one| one.contains(&theirs));
                assert!(!replaces || first == Some(0), "{name}: {field} loses it: {changes:?}");
            }
        }
    }
}

#[test]
fn every_kind_with_a_place_for_the_key_can_write_it_again() {
    for kind in KINDS {
        let row = object(*kind, None);
        let exempt = EXEMPT.iter().any(|(name, _)| *name == kind.meta().name);
        assert_eq!(kind.mark_request(&row, &key()).is_none(), exempt, "{}", kind.meta().name);
    }
    let shelved = json!({"id": "x1", "status": "SHELVED_OFFLOADED"});
    assert!(kind("openstack.server").mark_request(&shelved, &key()).is_none(), "Nova refuses it");
}

#[tokio::test]
async fn a_change_of_an_object_without_a_mark_adds_none() {
    let none = OwnerKey::new(EntityId(Uuid::from_u128(9)), Incarnation::default());
    for kind in marked().filter(|kind| kind.meta().name != "openstack.image") {
        let name = kind.meta().name;
        for owner_key in [key(), none.clone()] {
            for (field, value) in [
                ("description", json!("new")),
                ("tags", json!(["new"])),
                ("metadata", json!({"new": "1"})),
            ] {
                let fields = vec![format!("/{field}")];
                if kind.meta().field(&fields[0]).is_none() {
                    continue;
                }
                let stub = cloud(kind, object(kind, None)).await;
                let setup = Setup::new(&stub.url);
                let target = ObjectRef { owner_key: owner_key.clone(), ..target(name, "x1") };
                let spec = json!({ field: value });
                let update = Update { target, spec, fields, observed: json!({}) };
                super::super::update(kind, setup.client(), &update).await.unwrap();
                let changes = changes(&stub);
                let says = |text: &str| changes.iter().any(|one| one.contains(text));
                assert!(says("new") && !says("managed-entity"), "{name}: {field}: {changes:?}");
            }
        }
    }
}
