//! What the driver concludes when a cloud is full, slow, or cannot delete. As in `faults`, a script breaks the cloud;
//! run one at a time with those.

use serde_json::json;
use stateward_domain::failure::{Effect, ErrorClass};
use stateward_domain::ports::driver::{Create, Observation, Outcome};
use tokio::process::Command;

use super::{breakable, volume};
use crate::call_control::{Control, context};
use crate::openstack::{cloud_for, subject, then_clean_up};

#[tokio::test]
async fn an_exceeded_quota_is_reported_as_such_and_creates_nothing() {
    let Some(driver) = cloud_for("openstack.volume") else { return };
    let desired = json!({"name": "stateward-fault", "size": 2_000_000});
    let subject = subject(&driver, "openstack.volume", vec![desired], serde_json::Value::Null);
    let test = async {
        let failure = subject.create(&subject.desired[0]).await.unwrap_err();
        let expected = (ErrorClass::QuotaExceeded, Effect::None);
        assert_eq!((failure.class.clone(), failure.effect), expected, "{failure}");
        assert!(subject.find(&subject.desired[0]).await.is_empty());
    };
    then_clean_up(test, subject.clear()).await;
}

#[tokio::test]
async fn a_volume_waits_for_a_service_that_is_away_and_is_made_once() {
    let Some((driver, script)) = breakable() else { return };
    let subject = volume(&driver);
    let test = async {
        script.run("stop cinder-volume").await;
        let create = Create {
            kind: subject.kind.clone(),
            owner_key: subject.key(),
            spec: subject.checked(&subject.desired[0]),
        };
        let control = Control::new();
        let outcome = driver.create(&context(&control), &create).await.unwrap();
        let Outcome::Pending { handle, .. } = &outcome else { panic!("{outcome:?}") };
        let still = driver.resume(&context(&control), handle).await.unwrap();
        assert!(matches!(still, Outcome::Pending { .. }), "{still:?}");
        script.run("start cinder-volume").await;
        subject.finished(outcome).await.unwrap();
        assert_eq!(subject.find(&subject.desired[0]).await.len(), 1);
    };
    then_clean_up(test, async {
        script.run("start cinder-volume").await;
        subject.clear().await;
    })
    .await;
}

#[tokio::test]
async fn a_volume_that_cannot_be_deleted_is_never_called_gone() {
    let Some((driver, script)) = breakable() else { return };
    let Ok(admin) = std::env::var("STATEWARD_TEST_ADMIN_CLOUD") else {
        crate::skip::skipped("no administrator to clean up after it");
        return;
    };
    let subject = volume(&driver);
    let id = subject.create(&subject.desired[0]).await.unwrap();
    let test = async {
        script.run("fault volume-delete error").await;
        let failure = subject.delete(&id).await.unwrap_err();
        assert!(failure.message.contains("error_deleting"), "{failure}");
        assert!(matches!(subject.observe(&id).await, Observation::Present(_)));
        assert!(subject.delete(&id).await.is_err(), "asked again, it is no more gone than before");
    };
    then_clean_up(test, async {
        script.run("fault volume-delete clear").await;
        let mut reset = Command::new("openstack");
        reset.args(["--os-cloud", &admin, "volume", "set", "--state", "error", id.as_str()]);
        assert!(reset.status().await.unwrap().success());
        subject.clear().await;
    })
    .await;
}
