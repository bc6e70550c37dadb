//! Issues, lag, limits and faults.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Client, doc};
use crate::jira::fake::{Fault, FaultKind, Options, RateLimit};

#[tokio::test]
async fn an_issue_is_marked_in_the_request_that_creates_it() {
    let client = Client::with_project(Options::prompt()).await;
    let body = json!({
        "fields": {
            "project": {"key": "DEMO"}, "issuetype": {"id": "10002"}, "summary": "One", "description": doc("Text"),
        },
        "update": {"labels": [{"add": "managed-entity-1"}, {"add": "mine"}]},
        "properties": [{"key": "managed-entity", "value": {"id": "1"}}],
    });
    let created = client.ok("POST", "issue", body).await;
    assert_eq!(created["key"], "DEMO-1");
    let id = created["id"].as_str().unwrap();
    let found = client.ok("POST", "search/jql", json!({"jql": "labels = managed-entity-1"})).await;
    assert_eq!(found, json!({"issues": [{"id": id}], "isLast": true}), "ids alone by default");
    let issue = client.get(&format!("issue/{id}?fields=*all&properties=managed-entity")).await;
    assert_eq!(issue["properties"], json!({"managed-entity": {"id": "1"}}));
    assert_eq!(issue["fields"]["labels"], json!(["managed-entity-1", "mine"]));
    assert_eq!(issue["fields"]["status"]["name"], "To Do");
    assert_eq!(issue["fields"]["description"]["content"][0]["content"][0]["text"], "Text");
    let edit = json!({"update": {"labels": [{"remove": "mine"}, {"add": "other"}]}});
    client.ok("PUT", &format!("issue/{id}"), edit).await;
    let inventory = client.jira.inventory();
    assert_eq!(inventory.by_label.keys().collect::<Vec<_>>(), ["managed-entity-1", "other"]);
}

#[tokio::test]
async fn fields_are_checked_like_jira_does() {
    let client = Client::with_project(Options::prompt()).await;
    let refused = |fields: Value| {
        let client = &client;
        async move {
            let mut all = json!({"project": {"key": "DEMO"}, "issuetype": {"name": "Task"}, "summary": "One"});
            for (name, value) in fields.as_object().unwrap() {
                all[name] = value.clone();
            }
            let (status, reply) = client.send("POST", "issue", json!({"fields": all})).await;
            assert_eq!((status, &reply["errorMessages"]), (400, &json!([])), "{fields}");
            let errors = reply["errors"].as_object().unwrap();
            errors.keys().next().unwrap().clone()
        }
    };
    let cases = [
        (json!({"issuetype": {"name": "Bug"}}), "customfield_10031"),
        (
            json!({"issuetype": {"name": "Bug"}, "customfield_10031": {"value": "Extreme"}}),
            "customfield_10031",
        ),
        (json!({"status": {"name": "Done"}}), "status"),
        (json!({"labels": ["two words"]}), "labels"),
        (json!({"description": "wiki"}), "description"),
        (json!({"assignee": {"accountId": "nobody"}}), "assignee"),
        (json!({"priority": {"name": "Extreme"}}), "priority"),
        (json!({"issuetype": {"name": "Sub-task"}}), "issuetype"),
        (json!({"duedate": "soon"}), "duedate"),
        (json!({"customfield_99999": 1}), "customfield_99999"),
        (json!({"summary": " "}), "summary"),
        (json!({"project": {"key": "NONE"}}), "project"),
        (json!({"fixVersions": [{"name": "1.0"}]}), "fixVersions"),
        (json!({"description": doc(&"x".repeat(32_768))}), "description"),
    ];
    for (fields, field) in cases {
        assert_eq!(refused(fields.clone()).await, field, "{fields}");
    }
    client.jira.control(|control| {
        control.off_screen.insert("labels".to_owned());
    });
    assert_eq!(refused(json!({"labels": ["a"]})).await, "labels");
    assert!(client.jira.set_active("bob", false));
    let bob = client.jira.accounts()[2].account_id.clone();
    assert_eq!(refused(json!({"assignee": {"accountId": bob}})).await, "assignee");
}

#[tokio::test]
async fn a_status_changes_one_transition_at_a_time() {
    let client = Client::with_project(Options::prompt()).await;
    let id = client.issue(json!({})).await;
    let path = format!("issue/{id}/transitions");
    let go = |id: &str, fields: Value| {
        client.send("POST", &path, json!({"transition": {"id": id}, "fields": fields}))
    };
    assert_eq!(go("41", json!({})).await.0, 400, "not from here");
    assert_eq!(go("11", json!({})).await.0, 204);
    let known = client.get(&format!("{path}?expand=transitions.fields")).await;
    let names: Vec<_> = known["transitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|known| known["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["Send to review", "Close", "Put on hold"]);
    assert_eq!(known["transitions"][1]["fields"]["resolution"]["required"], true);
    let (status, reply) = go("61", json!({"resolution": {"name": "Done"}})).await;
    assert_eq!(
        (status, &reply["errors"]["customfield_10032"]),
        (400, &json!("Root cause is required."))
    );
    let vague = json!({"resolution": {"name": "Done"}, "customfield_10032": "bug"});
    let (status, reply) = go("61", vague).await;
    assert_eq!(
        (status, reply["errorMessages"].as_array().unwrap().len()),
        (400, 1),
        "the validator"
    );
    assert_eq!(go("21", json!({})).await.0, 204);
    assert_eq!(go("41", json!({})).await.0, 400);
    assert_eq!(go("41", json!({"resolution": {"name": "Done"}})).await.0, 204);
    let issue = client.get(&format!("issue/{id}")).await;
    assert_eq!(issue["fields"]["status"]["name"], "Done");
    assert_eq!(issue["fields"]["resolution"]["name"], "Done");
    assert_eq!(go("51", json!({})).await.0, 204);
    assert_eq!(client.get(&format!("issue/{id}")).await["fields"]["resolution"], Value::Null);
}

#[tokio::test]
async fn searches_and_reads_lag_behind_writes() {
    let lag = Options {
        search_lag: Duration::from_millis(600),
        read_lag: Duration::from_millis(300),
        ..Options::default()
    };
    let client = Client::with_project(lag).await;
    let id = client.issue(json!({"labels": ["mine"]})).await;
    let jql = json!({"jql": "project = DEMO and labels in (mine)", "fields": ["labels"]});
    let found = client.ok("POST", "search/jql", jql.clone()).await;
    assert_eq!(found["issues"], json!([]), "the search does not see it yet");
    let fresh = format!("search/jql?jql=labels%3Dmine&reconcileIssues={id}");
    assert_eq!(client.get(&fresh).await["issues"], json!([{"id": id}]));
    client.ok("PUT", &format!("issue/{id}"), json!({"fields": {"summary": "Two"}})).await;
    let summary = async || client.get(&format!("issue/{id}")).await["fields"]["summary"].clone();
    assert_eq!(summary().await, "One", "the read does not see the change yet");
    tokio::time::sleep(Duration::from_millis(350)).await;
    assert_eq!(summary().await, "Two");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let found = client.ok("POST", "search/jql", jql).await;
    assert_eq!(found["issues"][0]["fields"], json!({"labels": ["mine"]}));
}

#[tokio::test]
async fn faults_come_before_or_after_the_effect() {
    let client = Client::with_project(Options::prompt()).await;
    let fields = json!({"fields": {"project": {"key": "DEMO"}, "issuetype": {"name": "Task"}, "summary": "One"}});
    let issues = || client.jira.inventory().issues.len();
    for (kind, made) in [(FaultKind::RequestLost, 0), (FaultKind::ReplyLost, 1)] {
        client.jira.inject(Fault::once(kind).at("POST", "/issue"));
        assert!(client.request("POST", "issue").json(&fields).send().await.is_err());
        assert_eq!(issues(), made);
    }
    for (kind, status, made) in [
        (FaultKind::ServerError, 500, 1),
        (FaultKind::ServerErrorAfterEffect, 500, 2),
        (FaultKind::HtmlPage, 502, 2),
        (FaultKind::LoginPage, 200, 2),
        (FaultKind::TruncatedJson, 201, 3),
        (FaultKind::Unauthorized, 401, 3),
        (FaultKind::Captcha, 403, 3),
        (FaultKind::Anonymous, 401, 3),
    ] {
        client.jira.inject(Fault::once(kind.clone()));
        let (found, body) = client.send("POST", "issue", fields.clone()).await;
        assert_eq!((found, issues()), (status, made), "{kind:?}");
        assert!(body["id"].is_null(), "{kind:?}");
    }
    client.jira.inject(Fault::always(FaultKind::Anonymous));
    assert_eq!(client.get("search/jql?jql=project%3DDEMO").await["issues"], json!([]));
    assert_eq!(client.status("GET", "project/DEMO", Value::Null).await, 404);
    assert_eq!(client.status("GET", "myself", Value::Null).await, 401);
    client.jira.clear_faults();
    assert_eq!(client.get("project/DEMO").await["key"], "DEMO");
    client.jira.hide_project("DEMO", true);
    assert_eq!(client.status("GET", "project/DEMO", Value::Null).await, 404);
    assert_eq!(client.status("GET", "issue/DEMO-1", Value::Null).await, 404);
    client.jira.hide_project("DEMO", false);
    let id = client.jira.inventory().issues[0].id;
    client.jira.hide_issue(id, true);
    assert_eq!(client.status("GET", "issue/DEMO-1", Value::Null).await, 404);
    let fetched =
        client.ok("POST", "issue/bulkfetch", json!({"issueIdsOrKeys": ["DEMO-1", "DEMO-2"]})).await;
    assert_eq!(fetched["issues"].as_array().unwrap().len(), 1);
    assert_eq!(fetched["issueErrors"][0]["id"], "DEMO-1");
}

#[tokio::test]
async fn limits_answer_429_with_a_reason() {
    let limit = RateLimit { per_second: 5.0, burst: 4 };
    let options = Options { rate_limit: Some(limit), ..Options::prompt() };
    let client = Client::new(options).await;
    for _ in 0..4 {
        client.get("myself").await;
    }
    let reply = client.request("GET", "myself").send().await.unwrap();
    let header = |name: &str| reply.headers()[name].to_str().unwrap().to_owned();
    assert_eq!((reply.status().as_u16(), header("retry-after").as_str()), (429, "1"));
    assert_eq!(header("ratelimit-reason"), "jira-burst-based");
    assert_eq!((client.jira.rates().refused, client.jira.rates().greatest_per_second), (1, 5));
}
