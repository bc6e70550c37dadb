//! Ids, marks and comparisons of images.

use stateward_domain::id::{EntityId, Incarnation};
use stateward_domain::ports::driver::Plan;
use uuid::Uuid;

use super::*;
use crate::openstack::testing::{Answer, Setup, stub};

#[test]
fn an_image_that_inherited_the_mark_is_not_ours() {
    let key = OwnerKey::new(EntityId(Uuid::from_u128(7)), Incarnation(1));
    let row = |id: &str| json!({"id": id, "managed_entity": owner_key::encode(&key)});
    assert_eq!(Image.owner(&row(&image_id(&key))), Some(key.clone()));
    assert_eq!(Image.owner(&row("another")), None);
}

#[test]
fn an_import_shows_beside_the_status() {
    let stage = |going: &str, failed: &str| {
        Image.stage(&json!({
            "status": "queued", "os_glance_importing_to_stores": going,
            "os_glance_failed_import": failed,
        }))
    };
    assert_eq!(stage("", ""), Stage::Settled);
    assert_eq!(stage("ceph", ""), Stage::Working);
    assert!(matches!(stage("", "ceph"), Stage::Failed(_)));
}

#[test]
fn an_id_is_the_key_s_alone() {
    let key = |incarnation| OwnerKey::new(EntityId(Uuid::from_u128(7)), Incarnation(incarnation));
    assert_eq!(image_id(&key(1)), image_id(&key(1)));
    assert_ne!(image_id(&key(1)), image_id(&key(2)));
    assert!(Uuid::try_parse(&image_id(&key(1))).is_ok());
}

#[test]
fn other_content_replaces_an_image_and_a_first_one_does_not() {
    let spec = json!({"content": "dG9hc3Q="});
    let active = json!({"status": "active", "os_hash_algo": "sha512", "os_hash_value": "x"});
    let fields = vec!["/content".to_owned()];
    let planned = |observed: &Value| super::super::plan(&Image, observed, &spec);
    assert_eq!(planned(&active), Plan::Replace { fields: fields.clone() });
    assert_eq!(planned(&json!({"status": "queued"})), Plan::Update { fields });
}

#[test]
fn content_is_compared_by_its_digest_and_properties_by_name() {
    let digest = "ee26b0dd4af7e749aa1a8ee3c10ae9923f618980772e473f8819a5d4940e0db2\
                  7ac185f8a0e1d5f84f88bc887fd67b143732c304cc5fa9ad8e6f57f50028a8ff";
    let seen = json!({
        "status": "active", "os_hash_algo": "sha512", "os_hash_value": digest,
        "properties": {"a": "1", "b": "2"},
    });
    assert!(same_content(&seen, &json!("dGVzdA==")));
    assert!(!same_content(&seen, &json!("dG9hc3Q=")));
    assert!(!same_content(&json!({"status": "queued"}), &json!("dGVzdA==")));
    assert!(same_properties(&seen, &json!({"a": "1"})));
    assert!(!same_properties(&seen, &json!({"a": "2"})));
    assert!(!same_properties(&seen, &json!({"c": "3"})));
}

#[tokio::test]
async fn hidden_images_are_listed_after_the_others() {
    let stub = stub(|asked, _| {
        let hidden = asked.path.contains("os_hidden=true");
        let page = |ids: &[&str], more: bool| {
            let rows: Vec<_> = ids.iter().map(|id| json!({ "id": id })).collect();
            let next = if more { json!("/v2/images?marker=x") } else { Value::Null };
            Answer::json(200, json!({ "images": rows, "next": next }))
        };
        match (hidden, asked.path.contains("marker=")) {
            (false, false) => page(&["a"], true),
            (false, true) => page(&["b"], false),
            (true, false) => page(&["c"], true),
            (true, true) => page(&["d"], false),
        }
    })
    .await;
    let setup = Setup::new(&stub.url);
    let (mut ids, mut marker) = (Vec::new(), None::<String>);
    for _ in 0..5 {
        let (rows, next) = Image.page(setup.client(), marker.as_deref()).await.unwrap();
        ids.extend(rows.iter().map(|row| row["id"].clone()));
        marker = next;
        if marker.is_none() {
            break;
        }
    }
    assert_eq!(ids, ["a", "b", "c", "d"]);
    assert_eq!(marker, None);
}
