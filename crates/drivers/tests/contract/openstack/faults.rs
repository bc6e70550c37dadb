//! What the driver concludes when the cloud itself fails. These need a cloud that a script can break:
//! `STATEWARD_TEST_OPENSTACK_SCRIPT` names one that knows `pause`, `resume`, `stop` and `start` of a service, `fault
//! OPERATION error|clear`, and `token-ttl SECONDS`. They run one at a time.

mod full_or_slow_cloud;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use stateward_domain::failure::{Effect, ErrorClass};
use stateward_domain::ports::driver::{Create, Driver, Observation, Plan};
use tokio::process::Command;

use super::plans::variable;
use super::{cloud_for, subject, then_clean_up};
use crate::call_control::{Control, context};
use crate::kind_under_test::Subject;

/// The driver and the script; `None`, with the reason recorded, where there is none.
fn breakable() -> Option<(Arc<dyn Driver>, Script)> {
    let driver = cloud_for("openstack.volume")?;
    let Some(path) = std::env::var_os("STATEWARD_TEST_OPENSTACK_SCRIPT") else {
        crate::skip::skipped(
            "STATEWARD_TEST_OPENSTACK_SCRIPT names no script that breaks the cloud",
        );
        return None;
    };
    Some((driver, Script(PathBuf::from(path))))
}

/// Seconds within which a service forgets that it validated a token; Keystone's middleware keeps it for ten.
const TRIES_UNTIL_STALE: usize = 50;

struct Script(PathBuf);

impl Script {
    async fn run(&self, arguments: &str) {
        let done = Command::new("bash").arg(&self.0).args(arguments.split(' ')).output().await;
        let done = done.unwrap();
        assert!(done.status.success(), "{arguments}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

fn volume(driver: &Arc<dyn Driver>) -> Subject {
    let desired = json!({"name": "stateward-fault", "size": 1});
    let larger = json!({"name": "stateward-fault", "size": 2});
    subject(driver, "openstack.volume", vec![desired, larger], Value::Null)
}

#[tokio::test]
async fn what_was_asked_of_a_frozen_service_is_found_and_not_made_twice() {
    let Some((driver, script)) = breakable() else { return };
    let network = json!({"name": "stateward-fault"});
    let network = subject(&driver, "openstack.network", vec![network], Value::Null);
    for (service, subject) in [("cinder-api", volume(&driver)), ("neutron-server", network)] {
        // Fetches a token, so that the request itself is what hangs.
        assert!(subject.find(&subject.desired[0]).await.is_empty());
        let test = async {
            script.run(&format!("pause {service}")).await;
            let create = Create {
                kind: subject.kind.clone(),
                owner_key: subject.key(),
                spec: subject.checked(&subject.desired[0]),
            };
            let control = Control::with_time(Duration::from_secs(2));
            let failure = driver.create(&context(&control), &create).await.unwrap_err();
            assert_eq!((failure.class, failure.effect), (ErrorClass::Ambiguous, Effect::Maybe));
            script.run(&format!("resume {service}")).await;
            let found = subject.find(&subject.desired[0]).await;
            assert_eq!(found.len(), 1, "{service}: the request ran after all");
            assert_eq!(found[0].owner_key, Some(subject.key()));
        };
        then_clean_up(test, async {
            script.run(&format!("resume {service}")).await;
            subject.clear().await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_volume_that_failed_is_removed_and_the_next_one_succeeds() {
    let Some((driver, script)) = breakable() else { return };
    let subject = volume(&driver);
    let test = async {
        script.run("fault volume-create error").await;
        let failure = subject.create(&subject.desired[0]).await.unwrap_err();
        assert_eq!(failure.class, ErrorClass::Transient);
        assert!(failure.message.contains("error: "), "the reason: {failure}");
        script.run("fault volume-create clear").await;
        assert!(gone(&subject).await, "it was left behind");
        subject.next_incarnation();
        subject.create(&subject.desired[0]).await.unwrap();
    };
    then_clean_up(test, async {
        script.run("fault volume-create clear").await;
        subject.clear().await;
    })
    .await;
}

#[tokio::test]
async fn a_server_that_never_booted_is_removed() {
    let Some((driver, script)) = breakable() else { return };
    let desired = json!({
        "name": "stateward-fault", "flavorRef": variable("STATEWARD_TEST_FLAVOR", "m1.tiny"),
        "imageRef": variable("STATEWARD_TEST_IMAGE", "tiny"), "networks": "none",
    });
    let subject = subject(&driver, "openstack.server", vec![desired], Value::Null);
    let test = async {
        script.run("fault server-create error").await;
        let failure = subject.create(&subject.desired[0]).await.unwrap_err();
        assert_eq!(failure.class, ErrorClass::Transient);
        assert!(failure.message.contains("ERROR: "), "the reason: {failure}");
        script.run("fault server-create clear").await;
        assert!(gone(&subject).await, "it was left behind");
    };
    then_clean_up(test, async {
        script.run("fault server-create clear").await;
        subject.clear().await;
    })
    .await;
}

/// Waits for a requested deletion; `false` = it took more than half a minute.
async fn gone(subject: &Subject) -> bool {
    for _ in 0..60 {
        if subject.find(&subject.desired[0]).await.is_empty() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    false
}

#[tokio::test]
async fn a_volume_that_could_not_grow_waits_for_an_administrator() {
    let Some((driver, script)) = breakable() else { return };
    let subject = volume(&driver);
    let test = async {
        let id = subject.create(&subject.desired[0]).await.unwrap();
        script.run("fault volume-extend error").await;
        let failure = subject.update(&id, &subject.desired[1]).await.unwrap_err();
        assert_eq!(failure.class, ErrorClass::Invalid);
        assert!(failure.message.contains("error_extending"), "{failure}");
        let status = Plan::Update { fields: vec!["/status".to_owned()] };
        assert_eq!(subject.plan(&id, &subject.desired[0]).await, status, "it is not well");
        assert!(!gone_at_once(&subject).await, "data may be in it: it is never removed");
    };
    then_clean_up(test, async {
        script.run("fault volume-extend clear").await;
        subject.clear().await;
    })
    .await;
}

async fn gone_at_once(subject: &Subject) -> bool {
    subject.find(&subject.desired[0]).await.is_empty()
}

#[tokio::test]
async fn a_keystone_that_is_away_proves_nothing_and_parks_nothing() {
    let Some((driver, script)) = breakable() else { return };
    let subject = volume(&driver);
    let image =
        json!({"disk_format": "raw", "container_format": "bare", "content": "c3RhdGV3YXJk"});
    let image = super::subject(&driver, "openstack.image", vec![image], Value::Null);
    let test = async {
        let volume_id = subject.create(&subject.desired[0]).await.unwrap();
        let image_id = image.create(&image.desired[0]).await.unwrap();
        script.run("stop keystone").await;
        for (subject, id) in [(&subject, &volume_id), (&image, &image_id)] {
            // The services cache a validated token for a while.
            let control = Control::new();
            let mut seen = driver.observe(&context(&control), &subject.target(id)).await;
            for _ in 0..TRIES_UNTIL_STALE {
                if seen.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
                seen = driver.observe(&context(&control), &subject.target(id)).await;
            }
            let failure = seen.expect_err("the state is unknown");
            assert_eq!(failure.class, ErrorClass::Transient, "{}: {failure}", subject.kind);
        }
        script.run("start keystone").await;
        for (subject, id) in [(&subject, &volume_id), (&image, &image_id)] {
            let seen = subject.observe(id).await;
            assert!(matches!(seen, Observation::Present(_)), "{seen:?}");
        }
    };
    then_clean_up(test, async {
        script.run("start keystone").await;
        subject.clear().await;
        image.clear().await;
    })
    .await;
}

#[tokio::test]
async fn tokens_that_wear_out_are_renewed() {
    let Some((driver, script)) = breakable() else { return };
    let subject = volume(&driver);
    let test = async {
        script.run("token-ttl 5").await;
        let fresh = cloud_for("openstack.volume").expect("as before");
        let control = Control::new();
        fresh.health(&context(&control)).await.unwrap();
        let id = subject.create(&subject.desired[0]).await.unwrap();
        for _ in 0..4 {
            let seen = fresh.observe(&context(&control), &subject.target(&id)).await.unwrap();
            assert!(matches!(seen, Observation::Present(_)), "{seen:?}");
            tokio::time::sleep(Duration::from_millis(2_500)).await;
        }
    };
    then_clean_up(test, async {
        script.run("token-ttl 3600").await;
        subject.clear().await;
    })
    .await;
}
