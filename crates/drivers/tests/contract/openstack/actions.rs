//! The actions of servers and volumes, each from the state that it is meant for, and again once it is done.

use std::sync::Arc;

use serde_json::{Value, json};
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::{ActionName, ExternalId};
use stateward_domain::ports::driver::{Act, Driver, Outcome, Plan};

use super::plans::variable;
use super::prerequisites::Env;
use super::{cloud_for, subject, then_clean_up};
use crate::call_control::{Control, context};
use crate::kind_under_test::Subject;

/// Performs an action and waits for its end; returns its result.
async fn act(
    subject: &Subject,
    id: &ExternalId,
    verb: &str,
    input: Value,
) -> Result<Value, Failure> {
    let (control, spec) = (Control::new(), subject.checked(&subject.desired[0]));
    let act = Act { target: subject.target(id), action: ActionName::from(verb), input, spec };
    match subject.driver.action(&context(&control), &act).await? {
        Outcome::Done { attributes, .. } => Ok(attributes),
        pending @ Outcome::Pending { .. } => subject.finished(pending).await.map(|_| Value::Null),
    }
}

async fn status(subject: &Subject, id: &ExternalId) -> String {
    subject.present(id).await.attributes["status"].as_str().unwrap_or_default().to_owned()
}

fn server(driver: &Arc<dyn Driver>, image: &str) -> Subject {
    let desired = json!({
        "name": "stateward-actions", "flavorRef": variable("STATEWARD_TEST_FLAVOR", "m1.tiny"),
        "imageRef": image, "networks": "none",
    });
    subject(driver, "openstack.server", vec![desired], Value::Null)
}

#[tokio::test]
async fn a_server_does_every_verb_and_stays_as_desired() {
    let Some(driver) = cloud_for("openstack.server") else { return };
    let subject = server(&driver, &variable("STATEWARD_TEST_IMAGE", "tiny"));
    let test = async {
        let id = subject.create(&subject.desired[0]).await.unwrap();
        for (verb, input, expected) in [
            ("stop", json!({}), "SHUTOFF"),
            ("stop", json!({}), "SHUTOFF"),
            ("start", json!({}), "ACTIVE"),
            ("reboot", json!({"type": "HARD"}), "ACTIVE"),
            ("freeze", json!({}), "PAUSED"),
            ("freeze", json!({}), "PAUSED"),
            ("unfreeze", json!({}), "ACTIVE"),
            ("suspend", json!({}), "SUSPENDED"),
            ("wake", json!({}), "ACTIVE"),
            ("rescue", json!({}), "RESCUE"),
            ("rescue", json!({}), "RESCUE"),
            ("unrescue", json!({}), "ACTIVE"),
            ("lock", json!({}), "ACTIVE"),
            ("unlock", json!({}), "ACTIVE"),
            ("rebuild", json!({}), "ACTIVE"),
            ("shelve", json!({}), "SHELVED_OFFLOADED"),
            ("unshelve", json!({}), "ACTIVE"),
        ] {
            act(&subject, &id, verb, input).await.unwrap_or_else(|e| panic!("{verb}: {e}"));
            assert_eq!(status(&subject, &id).await, expected, "{verb}");
            assert_eq!(subject.plan(&id, &subject.desired[0]).await, Plan::Noop, "{verb}");
        }
        let log = act(&subject, &id, "console-log", json!({"length": 5})).await.unwrap();
        assert!(log["output"].is_string(), "{log}");
        let refused = act(&subject, &id, "unfreeze", json!({})).await;
        assert!(refused.is_ok(), "it is active already: {refused:?}");
    };
    then_clean_up(test, subject.clear()).await;
}

#[tokio::test]
async fn an_image_of_a_server_inherits_an_owner_key_and_is_still_not_ours() {
    let Some(driver) = cloud_for("openstack.image") else { return };
    let mut env = Env::new(&driver);
    let image =
        json!({"disk_format": "raw", "container_format": "bare", "content": "c3RhdGV3YXJk"});
    let base = env.create("openstack.image", image.clone()).await;
    let images = subject(&driver, "openstack.image", vec![image], Value::Null);
    let server = server(&driver, &base);
    let test = async {
        let id = server.create(&server.desired[0]).await.unwrap();
        let input = json!({"name": "stateward-actions"});
        let made = act(&server, &id, "create-image", input).await.unwrap();
        let made = ExternalId(made["image_id"].as_str().unwrap().to_owned());
        let seen = images.present(&made).await;
        let inherited = seen.attributes["properties"].as_object().unwrap();
        images.delete(&made).await.unwrap();
        assert!(inherited.contains_key("base_image_ref"), "it is of the server: {inherited:?}");
        assert_eq!(seen.owner_key, None, "a sweep would delete it");
    };
    then_clean_up(test, async {
        server.clear().await;
        env.clear().await;
    })
    .await;
}

#[tokio::test]
async fn a_volume_goes_back_to_its_last_snapshot() {
    let Some(driver) = cloud_for("openstack.volume") else { return };
    let mut env = Env::new(&driver);
    let desired = json!({"name": "stateward-actions", "size": 1});
    let volume = env.create("openstack.volume", desired.clone()).await;
    let snapshot = env.create("openstack.snapshot", json!({"volume_id": volume})).await;
    let subject = subject(&driver, "openstack.volume", vec![desired], Value::Null);
    let id = ExternalId(volume);
    let of = json!({"volume_id": id.as_str()});
    let snapshots = self::subject(&driver, "openstack.snapshot", vec![of], Value::Null);
    let test = async {
        act(&subject, &id, "revert", json!({"snapshot_id": snapshot})).await.unwrap();
        assert_eq!(status(&subject, &id).await, "available");
        let snapshot = ExternalId(snapshot.clone());
        act(&snapshots, &snapshot, "restore", json!({})).await.unwrap();
        assert_eq!(status(&subject, &id).await, "available", "it waited for the end");
    };
    then_clean_up(test, env.clear()).await;
}

#[tokio::test]
async fn a_backup_restores_every_volume_that_is_not_in_use() {
    let Some(driver) = cloud_for("openstack.backup") else { return };
    let mut env = Env::new(&driver);
    let desired = json!({"name": "stateward-actions", "size": 1});
    let disk = env.create("openstack.volume", desired.clone()).await;
    let volume = subject(&driver, "openstack.volume", vec![desired], Value::Null);
    let machine = server(&driver, &variable("STATEWARD_TEST_IMAGE", "tiny"));
    let with = |volumes: Value| {
        let mut desired = machine.desired[0].clone();
        desired["volumes"] = volumes;
        desired
    };
    let backup = subject(&driver, "openstack.backup", vec![json!({"server_id": "-"})], Value::Null);
    let test = async {
        let on = machine.create(&with(json!([disk]))).await.unwrap();
        let id = backup.create(&json!({"server_id": on})).await.unwrap();
        let refused = act(&backup, &id, "restore", json!({})).await.unwrap_err();
        assert_eq!(refused.class, ErrorClass::Conflict, "the server still uses it: {refused}");
        machine.update(&on, &with(json!([]))).await.unwrap();
        act(&backup, &id, "restore", json!({})).await.unwrap();
        assert_eq!(status(&volume, &ExternalId(disk.clone())).await, "available");
    };
    then_clean_up(test, async {
        backup.clear().await;
        machine.clear().await;
        env.clear().await;
    })
    .await;
}

#[tokio::test]
async fn only_an_administrator_says_what_status_a_volume_has() {
    let Some(driver) = cloud_for("openstack.volume") else { return };
    let mut env = Env::new(&driver);
    let desired = json!({"name": "stateward-actions", "size": 1});
    let id = ExternalId(env.create("openstack.volume", desired.clone()).await);
    let subject = subject(&driver, "openstack.volume", vec![desired], Value::Null);
    let test = async {
        let refused = act(&subject, &id, "reset-status", json!({"status": "error"})).await;
        assert!(refused.unwrap_err().message.contains("olicy"), "the failure says why");
        assert_eq!(status(&subject, &id).await, "available");
    };
    then_clean_up(test, env.clear()).await;
}

#[tokio::test]
async fn an_image_is_downloaded_by_the_cloud() {
    let Some(driver) = cloud_for("openstack.image") else { return };
    let Ok(url) = std::env::var("STATEWARD_TEST_IMAGE_URL") else {
        crate::skip::skipped("STATEWARD_TEST_IMAGE_URL names nothing that the cloud can download");
        return;
    };
    let desired =
        |url: &str| json!({"disk_format": "raw", "container_format": "bare", "source_url": url});
    let all = vec![desired(&url), desired(&format!("{url}.is-not-there"))];
    let subject = subject(&driver, "openstack.image", all, Value::Null);
    let test = async {
        let id = subject.create(&subject.desired[0]).await.unwrap();
        assert_eq!(status(&subject, &id).await, "active");
        assert_eq!(subject.plan(&id, &subject.desired[0]).await, Plan::Noop);
        subject.clear().await;
        let failure = subject.create(&subject.desired[1]).await.unwrap_err();
        assert!(failure.message.contains("import failed"), "{failure}");
        assert!(subject.find(&subject.desired[1]).await.is_empty(), "it was left behind");
    };
    then_clean_up(test, subject.clear()).await;
}
