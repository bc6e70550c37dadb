//! What tests may do to a site, in the process and over HTTP.

use serde_json::{Value, json};

use super::{Client, doc};
use crate::jira::fake::{Fault, FaultKind, Options};

/// A request below `/_fake/`: status and body of the reply.
async fn operate(client: &Client, method: &str, path: &str, body: Value) -> (u16, Value) {
    let url = format!("{}/_fake/{path}", client.jira.url());
    let request = client.http.request(method.parse().unwrap(), url).json(&body);
    let reply = request.send().await.unwrap();
    let status = reply.status().as_u16();
    (status, serde_json::from_slice(&reply.bytes().await.unwrap()).unwrap_or(Value::Null))
}

#[tokio::test]
async fn a_site_is_controlled_over_http() {
    let client = Client::with_project(Options::prompt()).await;
    let id = client.issue(json!({"labels": ["mine"]})).await;
    let (_, inventory) = operate(&client, "GET", "inventory", Value::Null).await;
    assert_eq!(inventory["by_label"]["mine"], json!([id.parse::<u64>().unwrap()]));
    let fault = json!({"kind": {"rate_limited": {"retry_after": 7, "reason": "jira-quota"}}, "path": "/myself"});
    assert_eq!(operate(&client, "POST", "faults", fault).await.0, 204);
    assert_eq!(operate(&client, "POST", "faults", json!({"kind": "explode"})).await.0, 400);
    assert_eq!(client.jira.pending_faults().len(), 1);
    let reply = client.request("GET", "myself").send().await.unwrap();
    assert_eq!(
        (reply.status().as_u16(), &reply.headers()["retry-after"]),
        (429, &"7".parse().unwrap())
    );
    let edit = json!({"user": "other-tool", "method": "PUT", "path": format!("issue/{id}"), "body": {"fields": {"summary": "Theirs"}}});
    assert_eq!(operate(&client, "POST", "act", edit).await.1["status"], 204);
    assert_eq!(client.get(&format!("issue/{id}")).await["fields"]["summary"], "Theirs");
    let hidden = json!({"hidden_issues": [id.parse::<u64>().unwrap()]});
    assert_eq!(operate(&client, "PUT", "control", hidden).await.0, 204);
    assert_eq!(client.status("GET", &format!("issue/{id}"), Value::Null).await, 404);
    assert_eq!(operate(&client, "PUT", "control", json!({"hide": []})).await.0, 400);
    assert_eq!(operate(&client, "PUT", "users/bob", json!({"active": false})).await.0, 204);
    assert_eq!(operate(&client, "PUT", "users/eve", json!({"active": false})).await.0, 404);
    let found = client.get("user/search?query=bob").await;
    assert_eq!(found, json!([]));
    let (_, requests) = operate(&client, "GET", "requests", Value::Null).await;
    assert_eq!(
        (&requests[0]["method"], &requests[0]["status"], &requests[0]["user"]),
        (&json!("POST"), &json!(201), &json!("bot"))
    );
    assert_eq!(requests.as_array().unwrap().len(), client.jira.requests().len());
    assert_eq!(
        operate(&client, "GET", "rates", Value::Null).await.1["requests"],
        json!(client.jira.rates().requests)
    );
}

#[tokio::test]
async fn a_skewed_clock_is_that_of_all_replies() {
    let client = Client::with_project(Options::prompt()).await;
    let right = client.issue(json!({})).await;
    client.jira.control(|control| control.clock_skew_seconds = -600);
    let skewed = client.issue(json!({})).await;
    let created = async |id: &str| {
        let issue = client.get(&format!("issue/{id}?fields=created")).await;
        let text = issue["fields"]["created"].as_str().unwrap().to_owned();
        assert!(text.ends_with("+0900"), "{text}");
        jiff::Timestamp::strptime("%Y-%m-%dT%H:%M:%S%.f%z", &text).unwrap()
    };
    let behind = created(&right).await.duration_since(created(&skewed).await);
    assert!((590..=600).contains(&behind.as_secs()), "{behind:?}");
    // The search is relative to the same clock.
    let found = client.get("search/jql?jql=created+%3E%3D+-1m").await;
    assert_eq!(found["issues"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_second_tool_is_another_user() {
    let client = Client::with_project(Options::prompt()).await;
    let id = client.issue(json!({"labels": ["mine"]})).await;
    client.jira.inject(Fault::always(FaultKind::ServerError));
    assert_eq!(client.jira.edit_elsewhere(&id, &json!({"labels": ["theirs"]})), 204);
    let comment = json!({"body": doc("Theirs")});
    let (status, comment) =
        client.jira.act("alice", "POST", &format!("issue/{id}/comment"), &comment);
    assert_eq!((status, &comment["author"]["displayName"]), (201, &json!("Alice Adams")));
    client.jira.clear_faults();
    assert_eq!(client.jira.inventory().issues[0].labels, ["theirs"]);
}
