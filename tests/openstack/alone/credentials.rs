//! Credentials that end.

use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};

use super::super::cloud::{Cloud, said};
use super::super::lifecycle::{manifest, unique};
use crate::harness::{Setup, text};

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "the cloud's clock is this machine's")]
async fn an_application_credential_that_ends_before_a_token_would_is_used_until_then() {
    let Some(cloud) = Cloud::wanted().await else { return };
    let name = unique("credential");
    let ends = Timestamp::now() + SignedDuration::from_mins(10);
    let ends = ends.strftime("%Y-%m-%dT%H:%M:%S");
    let create = format!("application credential create {name} --expiration {ends} -f json");
    let made: Value = serde_json::from_str(&said(&cloud.name, &create).await).unwrap();
    let setup = Setup::new(&format!(
        "[backends.cloud]\ndriver = \"openstack\"\nauth_url = \"{}\"\n\
         application_credential_id = \"{}\"\napplication_credential_secret = \"{}\"\n",
        cloud.auth_url,
        text(&made["id"]),
        text(&made["secret"]),
    ));
    let server = setup.start().await;
    let declared = manifest("network", &name, json!({ "name": name }));
    let network = server.client.done(Method::POST, "/v1/entities", declared).await;
    let path = format!("/v1/entities/{}", text(&network.body["entity"]["id"]));
    server.client.done(Method::DELETE, &path, Value::Null).await;
    said(&cloud.name, &format!("application credential delete {name}")).await;
}
