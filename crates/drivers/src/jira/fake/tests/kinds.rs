//! The other kinds, and Data Center.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Client, doc};
use crate::jira::fake::Options;

#[tokio::test]
async fn a_comment_has_its_property_from_the_start() {
    let client = Client::with_project(Options::prompt()).await;
    let issue = client.issue(json!({})).await;
    let path = format!("issue/{issue}/comment");
    let property = json!([{"key": "managed-entity", "value": {"id": "1"}}]);
    let body = json!({"body": doc("Hello"), "properties": property, "visibility": {"type": "role", "value": "Administrators"}});
    let id = client.ok("POST", &path, body).await["id"].as_str().unwrap().to_owned();
    let value = client.get(&format!("comment/{id}/properties/managed-entity")).await;
    assert_eq!(value, json!({"key": "managed-entity", "value": {"id": "1"}}));
    let edited = client.ok("PUT", &format!("{path}/{id}"), json!({"body": doc("Bye")})).await;
    assert_eq!(edited["visibility"]["value"], "Administrators", "kept when it is left out");
    let listed = client.get(&format!("{path}?expand=properties")).await;
    assert_eq!((&listed["total"], &listed["comments"][0]["properties"]), (&json!(1), &property));
    assert_eq!(client.status("POST", &path, json!({"body": "wiki"})).await, 400);
    let half =
        json!({"fields": {"summary": "Two"}, "update": {"comment": [{"add": {"body": "wiki"}}]}});
    assert_eq!(client.status("PUT", &format!("issue/{issue}"), half).await, 400);
    let unchanged = client.get(&format!("issue/{issue}")).await;
    assert_eq!(unchanged["fields"]["summary"], "One", "a refused request changes nothing");
    assert_eq!(client.status("DELETE", &format!("{path}/{id}"), Value::Null).await, 204);
    assert_eq!(client.status("GET", &format!("{path}/{id}"), Value::Null).await, 404);
}

#[tokio::test]
async fn a_deleted_project_keeps_its_key_in_the_bin() {
    let client = Client::with_project(Options {
        task_time: Duration::from_millis(100),
        ..Options::prompt()
    })
    .await;
    let lead = client.jira.accounts()[1].account_id.clone();
    let again = json!({"key": "DEMO", "name": "Other", "projectTypeKey": "software", "leadAccountId": lead});
    client.ok("PUT", "project/DEMO/properties/managed-entity", json!("1")).await;
    assert_eq!(client.status("DELETE", "project/DEMO", Value::Null).await, 204);
    assert_eq!(client.status("GET", "project/DEMO", Value::Null).await, 404);
    let (status, reply) = client.send("POST", "project", again.clone()).await;
    assert_eq!((status, reply["errors"]["projectKey"].is_string()), (400, true));
    let binned = client.get("project/search?status=deleted").await;
    assert_eq!(binned["values"][0]["key"], "DEMO");
    client.ok("POST", "project/DEMO/restore", Value::Null).await;
    assert_eq!(client.get("project/DEMO/properties/managed-entity").await["value"], "1");
    client.ok("POST", "project/DEMO/archive", Value::Null).await;
    assert_eq!(client.status("DELETE", "project/DEMO", Value::Null).await, 400, "archived");
    client.ok("POST", "project/DEMO/restore", Value::Null).await;
    for fails in [true, false] {
        client.jira.control(|control| control.tasks_fail = fails);
        let (status, task) = client.send("POST", "project/DEMO/delete", Value::Null).await;
        assert_eq!(status, 303);
        let path = format!("task/{}", task["id"].as_str().unwrap());
        assert_eq!(client.get(&path).await["status"], "ENQUEUED");
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert_eq!(client.get(&path).await["status"], if fails { "FAILED" } else { "COMPLETE" });
    }
    client.ok("POST", "project", again).await;
}

#[tokio::test]
async fn versions_and_components_have_unique_names_and_are_replaced() {
    let client = Client::with_project(Options::prompt()).await;
    let version = async |name: &str| {
        let body = json!({"name": name, "project": "DEMO", "releaseDate": "2026-01-02"});
        client.ok("POST", "version", body).await["id"].as_str().unwrap().to_owned()
    };
    let (one, two) = (version("1.0").await, version("2.0").await);
    let (status, reply) =
        client.send("POST", "version", json!({"name": "1.0", "project": "DEMO"})).await;
    assert_eq!((status, reply["errors"]["name"].is_string()), (400, true));
    let component = client.ok("POST", "component", json!({"name": "API", "project": "DEMO"})).await;
    let component = component["id"].as_str().unwrap();
    let fields = json!({"fixVersions": [{"name": "1.0"}], "components": [{"id": component}]});
    let issue = client.issue(fields).await;
    let released = client.ok("PUT", &format!("version/{one}"), json!({"released": true})).await;
    assert_eq!((&released["released"], &released["name"]), (&json!(true), &json!("1.0")));
    let swap = json!({"moveFixIssuesTo": two.parse::<u64>().unwrap()});
    client.ok("POST", &format!("version/{one}/removeAndSwap"), swap).await;
    assert_eq!(client.status("GET", &format!("version/{one}"), Value::Null).await, 404);
    client.ok("DELETE", &format!("component/{component}"), Value::Null).await;
    let fields =
        client.get(&format!("issue/{issue}?fields=fixVersions,components")).await["fields"].clone();
    assert_eq!((&fields["fixVersions"][0]["id"], &fields["components"]), (&json!(two), &json!([])));
}

#[tokio::test]
async fn a_link_answers_no_id_and_swallows_a_repetition() {
    let client = Client::with_project(Options::prompt()).await;
    let (one, two) = (client.issue(json!({})).await, client.issue(json!({})).await);
    let body = json!({"type": {"name": "Blocks"}, "inwardIssue": {"id": one}, "outwardIssue": {"id": two}});
    for _ in 0..2 {
        let reply = client.request("POST", "issueLink").json(&body).send().await.unwrap();
        assert_eq!((reply.status().as_u16(), reply.bytes().await.unwrap().len()), (201, 0));
    }
    let links =
        client.get(&format!("issue/{one}?fields=issuelinks")).await["fields"]["issuelinks"].clone();
    assert_eq!(links.as_array().unwrap().len(), 1);
    assert_eq!(links[0]["outwardIssue"]["id"], json!(two));
    let path = format!("issueLink/{}", links[0]["id"].as_str().unwrap());
    assert_eq!(client.get(&path).await["inwardIssue"]["id"], json!(one));
    assert_eq!(client.status("DELETE", &path, Value::Null).await, 204);
    assert_eq!(client.jira.inventory().issue_links.len(), 0);
}

#[tokio::test]
async fn a_remote_link_is_replaced_by_its_global_id() {
    let client = Client::with_project(Options::prompt()).await;
    let path = format!("issue/{}/remotelink", client.issue(json!({})).await);
    let object = json!({"url": "https://example.com/1", "title": "One"});
    let body = json!({"globalId": "g=1", "object": object, "relationship": "causes", "application": {"name": "A"}});
    let (status, created) = client.send("POST", &path, body).await;
    assert_eq!(status, 201);
    let (status, replaced) =
        client.send("POST", &path, json!({"globalId": "g=1", "object": object})).await;
    assert_eq!((status, &replaced["id"]), (200, &created["id"]));
    let link = client.get(&format!("{path}?globalId=g%3D1")).await;
    assert_eq!((&link["relationship"], &link["application"]), (&Value::Null, &json!({})));
    assert_eq!(client.status("DELETE", &format!("{path}?globalId=g%3D1"), Value::Null).await, 204);
    assert_eq!(client.get(&path).await, json!([]));
}

#[tokio::test]
async fn contents_of_attachments_are_on_another_host() {
    let client =
        Client::with_project(Options { attachment_bytes_max: 10, ..Options::prompt() }).await;
    let path = format!("issue/{}/attachments", client.issue(json!({})).await);
    let upload = async |content: &str, token: Option<&str>| {
        let body = format!(
            "--xx\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\n{content}\r\n--xx--\r\n"
        );
        let mut request = client.request("POST", &path);
        request = request.header("content-type", "multipart/form-data; boundary=xx");
        if let Some(token) = token {
            request = request.header("x-atlassian-token", token);
        }
        request.body(body).send().await.unwrap()
    };
    assert_eq!(upload("hello", None).await.status(), 403);
    assert_eq!(upload("eleven bytes", Some("no-check")).await.status(), 413);
    let reply = upload("hello", Some("no-check")).await;
    assert_eq!(reply.status(), 200);
    let reply: Value = reply.json().await.unwrap();
    let id = reply[0]["id"].as_str().unwrap();
    assert_eq!(reply[0]["size"], 5);
    let redirect = client.request("GET", &format!("attachment/content/{id}")).send().await.unwrap();
    let location = redirect.headers()["location"].to_str().unwrap().to_owned();
    assert!(
        redirect.status() == 303 && location.starts_with(client.jira.media_url()),
        "{location}"
    );
    let content = client.http.get(&location).send().await.unwrap().text().await.unwrap();
    assert_eq!((content.as_str(), client.jira.leaked_credentials()), ("hello", 0));
    client.http.get(&location).bearer_auth("x").send().await.unwrap();
    assert_eq!(client.jira.leaked_credentials(), 1);
    assert_eq!(client.status("DELETE", &format!("attachment/{id}"), Value::Null).await, 204);
}

#[tokio::test]
async fn a_moved_issue_keeps_its_id_and_answers_to_its_old_key() {
    let client = Client::with_project(Options::prompt()).await;
    let lead = client.jira.accounts()[1].account_id.clone();
    let other = json!({"key": "OTHER", "name": "Other", "projectTypeKey": "software", "leadAccountId": lead});
    client.ok("POST", "project", other).await;
    let id = client.issue(json!({})).await;
    assert_eq!(client.jira.move_issue("DEMO-1", "OTHER").as_deref(), Some("OTHER-1"));
    for name in [id.as_str(), "DEMO-1", "OTHER-1"] {
        let issue = client.get(&format!("issue/{name}?fields=project")).await;
        assert_eq!((&issue["id"], &issue["key"]), (&json!(id), &json!("OTHER-1")), "{name}");
    }
    let parent = client.issue(json!({})).await;
    let child = json!({"issuetype": {"name": "Sub-task"}, "parent": {"id": parent}});
    client.issue(child).await;
    let path = format!("issue/{parent}");
    assert_eq!(client.status("DELETE", &path, Value::Null).await, 400);
    assert_eq!(
        client.status("DELETE", &format!("{path}?deleteSubtasks=True"), Value::Null).await,
        204
    );
    client.ok("PUT", "issue/archive", json!({"issueIdsOrKeys": [id]})).await;
    assert_eq!(client.get("search/jql?jql=project%3DOTHER").await["issues"], json!([]));
    assert_eq!(
        client.status("PUT", &format!("issue/{id}"), json!({"fields": {"summary": "Two"}})).await,
        400
    );
    client.ok("PUT", "issue/unarchive", json!({"issueIdsOrKeys": [id]})).await;
    assert_eq!(client.jira.inventory().count(), 3);
}

#[tokio::test]
async fn searches_are_paged_and_checked() {
    let client = Client::with_project(Options::prompt()).await;
    for _ in 0..5 {
        client.issue(json!({})).await;
    }
    let (mut keys, mut token) = (Vec::new(), Value::Null);
    loop {
        let mut body =
            json!({"jql": "project = DEMO order by key", "maxResults": 2, "fields": ["summary"]});
        if !token.is_null() {
            body["nextPageToken"] = token;
        }
        let page = client.ok("POST", "search/jql", body).await;
        let issues = page["issues"].as_array().unwrap();
        keys.extend(issues.iter().map(|issue| issue["key"].as_str().unwrap().to_owned()));
        assert!(page.get("total").is_none());
        if page["isLast"] == true {
            break;
        }
        token = page["nextPageToken"].clone();
    }
    assert_eq!(keys, ["DEMO-1", "DEMO-2", "DEMO-3", "DEMO-4", "DEMO-5"]);
    let since = client.get("search/jql?jql=project%3DDEMO+and+updated+%3E%3D+-1m").await;
    assert_eq!(since["issues"].as_array().unwrap().len(), 5);
    let none = client.get("search/jql?jql=project%3DDEMO+and+created+%3C%3D+-1m").await;
    assert_eq!(none["issues"], json!([]));
    for jql in
        ["order by key", "project = NONE", "id in (1)", "issue.property[x].y = 1", "labels ="]
    {
        assert_eq!(client.status("POST", "search/jql", json!({"jql": jql})).await, 400, "{jql}");
    }
    assert_eq!(client.status("GET", "search?jql=project%3DDEMO", Value::Null).await, 410);
}

#[tokio::test]
async fn data_center_speaks_wiki_text_names_and_offsets() {
    let client = Client::with_project(Options::prompt().data_center()).await;
    let fields =
        json!({"description": "h1. Text", "assignee": {"name": "bob"}, "labels": ["mine"]});
    let id = client.issue(fields).await;
    let issue = client.get(&format!("issue/{id}")).await;
    assert_eq!(issue["fields"]["description"], "h1. Text");
    assert_eq!(issue["fields"]["assignee"]["name"], "bob");
    assert!(issue["fields"]["assignee"].get("accountId").is_none());
    let body = json!({"jql": "labels = mine", "startAt": 0, "maxResults": 1});
    let page = client.ok("POST", "search", body).await;
    assert_eq!((&page["total"], &page["issues"][0]["id"]), (&json!(1), &json!(id)));
    let gone =
        |validate: &str| json!({"jql": format!("id in (1, {id})"), "validateQuery": validate});
    assert_eq!(client.status("POST", "search", gone("strict")).await, 400);
    let lenient = client.ok("POST", "search", gone("warn")).await;
    assert_eq!(
        (&lenient["total"], lenient["warningMessages"].as_array().unwrap().len()),
        (&json!(1), 1)
    );
    assert_eq!(client.status("POST", "search/jql", json!({"jql": "id = 1"})).await, 404);
    let meta = client.get("issue/createmeta/DEMO/issuetypes").await;
    assert_eq!(meta["values"].as_array().unwrap().len(), 5);
    let url = format!("{}/rest/api/3/myself", client.jira.url());
    assert_eq!(client.http.get(url).send().await.unwrap().status(), 404);
    assert_eq!(client.status("DELETE", "project/DEMO", Value::Null).await, 204);
    assert_eq!(client.jira.inventory().projects.len(), 0, "there is no bin");
}

#[tokio::test]
async fn oauth_tokens_work_below_the_gateway() {
    let client =
        Client::new(Options { token_lifetime: Duration::from_millis(200), ..Options::prompt() })
            .await;
    let (id, secret) = client.jira.oauth_client();
    let body =
        json!({"grant_type": "client_credentials", "client_id": id, "client_secret": secret});
    let url = format!("{}/oauth/token", client.jira.url());
    let reply: Value =
        client.http.post(url).json(&body).send().await.unwrap().json().await.unwrap();
    let token = reply["access_token"].as_str().unwrap();
    let url = format!("{}/rest/api/3/myself", client.jira.gateway_url());
    let myself = async || client.http.get(&url).bearer_auth(token).send().await.unwrap().status();
    assert_eq!(myself().await, 200);
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(myself().await, 401);
}
