//! Requests that the cloud refuses for a while, and failures that only an administrator can repair.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::super::cloud::Cloud;
use super::Breakable;
use crate::harness::{reason, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_network_whose_creation_broke_in_the_cloud_is_made_once_and_so_are_the_others() {
    let Some(broken) = Breakable::new("").await else { return };
    broken.run("fault network-create error 1").await;
    let mut networks = Vec::new();
    for number in 0..3 {
        let name = format!("fault-500-{number}");
        networks.push(broken.declare("network", &name, json!({ "name": name })).await);
    }
    for id in &networks {
        broken.ends_well(id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_goes_on_once_the_cloud_s_own_error_is_over() {
    let Some(broken) = Breakable::new("").await else { return };
    let network = broken.cloud.network("stateward-fault-port").await;
    broken.run("fault port-create error").await;
    let id = broken.declare("port", "fault-port", json!({ "network_id": network })).await;
    let client = &broken.server.client;
    let entity = until("it says so", async || {
        let entity = client.entity(&id).await;
        (!entity["error"].is_null()).then_some(entity)
    })
    .await;
    assert!(entity["error"].to_string().contains("500"), "{entity:#}");
    assert_eq!(broken.cloud.marked(&id).await, Vec::<Value>::new());
    broken.run("fault clear").await;
    broken.ends_well(&id).await;
    let path = format!("/v2.0/networks/{network}");
    broken.cloud.ask(Method::DELETE, "network", &path, Value::Null).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_the_quota_waits_and_goes_on_once_it_is_raised() {
    let Some(broken) = Breakable::new("").await else { return };
    let Some(admin) = Cloud::admin().await else { return };
    let path = format!("/os-quota-sets/{}", broken.cloud.project());
    let usage = format!("{path}?usage=True");
    let usage = admin.ask(Method::GET, "volume", &usage, Value::Null).await["quota_set"].clone();
    let quota = async |volumes: &Value| {
        let body = json!({ "quota_set": { "volumes": volumes } });
        admin.ask(Method::PUT, "volume", &path, body).await;
    };
    // No room beside the volumes that other tests left: Cinder refuses a limit below the usage.
    quota(&usage["volumes"]["in_use"]).await;
    let id = broken.volume("fault-quota").await;
    let client = broken.server.client.clone();
    let blocked = tokio::spawn(async move {
        until("it is blocked", async || {
            let entity = client.entity(&id).await;
            (reason(&entity, "blocked") == "QuotaExceeded").then_some(())
        })
        .await;
        id
    })
    .await;
    // Whatever the result: other users share the quota.
    quota(&usage["volumes"]["limit"]).await;
    let id = blocked.unwrap();
    broken.ends_well(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_could_not_be_deleted_says_so_and_goes_once_an_administrator_helped() {
    let Some(broken) = Breakable::new("").await else { return };
    let Some(admin) = Cloud::admin().await else { return };
    let id = broken.volume("fault-delete").await;
    let client = &broken.server.client;
    client.reaches(&id, "ok").await;
    broken.run("fault volume-delete error").await;
    let entity = format!("/v1/entities/{id}");
    client.send(Method::DELETE, &entity, None, &[]).await.unwrap();
    let shown = client.reaches(&id, "erred").await;
    // Cinder itself gives no reason.
    let why = shown["error"]["message"].to_string();
    assert!(why.contains("error_deleting"), "{shown:#}");
    broken.run("fault clear").await;
    let volume = shown["observed"]["external_id"].as_str().unwrap();
    // An administrator may address another project's volumes by id as well.
    let reset = json!({"os-reset_status": {"status": "error"}});
    admin.ask(Method::POST, "volume", &format!("/volumes/{volume}/action"), reset).await;
    let retry = format!("{entity}/actions/retry");
    client.waited(Method::POST, &retry, Value::Null).await;
    client.reaches(&id, "deleted").await;
    assert_eq!(broken.cloud.marked(&id).await, Vec::<Value>::new(), "left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_wears_out_while_the_cloud_works_and_the_volume_is_made_once() {
    let Some(broken) = Breakable::new("").await else { return };
    broken.run("token-ttl 5").await;
    broken.run("fault volume-create delay 12").await;
    let short = broken.setup.start_in(&broken.setup.folder.path().join("other")).await;
    let name = "fault-expiry";
    let declared =
        super::manifest("volume", &super::unique(name), json!({ "name": name, "size": 1 }));
    let started = std::time::Instant::now();
    let made = short.client.done(Method::POST, "/v1/entities", declared).await;
    let took = started.elapsed();
    broken.run("token-ttl 3600").await;
    broken.run("fault clear").await;
    assert!(took > Duration::from_secs(10), "two tokens did not wear out meanwhile");
    let id = super::text(&made.body["entity"]["id"]);
    assert_eq!(broken.cloud.marked(&id).await.len(), 1, "one");
    short.client.done(Method::DELETE, &format!("/v1/entities/{id}"), Value::Null).await;
    assert_eq!(broken.cloud.marked(&id).await, Vec::<Value>::new(), "left behind");
}
