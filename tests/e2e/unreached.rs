//! A backend that was never reached since the server started.

use reqwest::Method;
use serde_json::json;

use crate::harness::{Setup, World, condition, reason, text, thing, until};

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_backend_that_was_never_reached_says_so_and_goes_on_once_it_is() {
    let address = World::start().await.end().await;
    let setup = Setup::new(&format!(
        "[backends.sandbox]\ndriver = \"fake\"\nurl = \"http://{address}\"\n\
         breaker = {{ probe_interval = \"300ms\" }}\n",
    ));
    let server = setup.start().await;
    let client = &server.client;
    let body = thing("early", json!({ "size": 1 }));
    let reply = client.send(Method::POST, "/v1/entities", Some(&body), &[]).await.unwrap();
    let id = text(&reply.body["entity"]["id"]);
    let entity = until("it is blocked", async || {
        let entity = client.entity(&id).await;
        condition(&entity, "blocked").then_some(entity)
    })
    .await;
    assert_eq!(reason(&entity, "blocked"), "BackendUnavailable");
    assert_eq!(entity["error"]["code"], "backend_unreachable", "{entity:#}");

    let _world = World::start_at(&address).await;
    client.reaches(&id, "ok").await;
}
