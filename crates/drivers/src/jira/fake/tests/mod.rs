//! The fake over HTTP.

mod issues;
mod kinds;
mod operations;

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::{Deployment, FakeJira, Options};

/// A client of a fake JIRA, logged in as `bot`.
struct Client {
    http: reqwest::Client,
    jira: FakeJira,
    api: u8,
}

impl Client {
    async fn new(options: Options) -> Self {
        let api = if options.deployment == Deployment::Cloud { 3 } else { 2 };
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(10))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self { http, jira: FakeJira::start(options).await.unwrap(), api }
    }

    /// A site with the project `DEMO`.
    async fn with_project(options: Options) -> Self {
        let client = Self::new(options).await;
        let lead = client.jira.accounts()[1].clone();
        let project = json!({
            "key": "DEMO", "name": "Demo", "projectTypeKey": "software", "leadAccountId": lead.account_id,
            "lead": lead.name,
        });
        client.ok("POST", "project", project).await;
        client
    }

    fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = method.parse::<Method>().unwrap();
        let account = self.jira.accounts()[0].clone();
        let url = format!("{}/rest/api/{}/{path}", self.jira.url(), self.api);
        let request = self.http.request(method, url);
        if self.api == 3 {
            request.basic_auth(account.email, Some(account.token))
        } else {
            request.bearer_auth(account.token)
        }
    }

    async fn send(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let request = self.request(method, path);
        let request = if body.is_null() { request } else { request.json(&body) };
        let reply = request.send().await.unwrap();
        let status = reply.status().as_u16();
        let body = reply.bytes().await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    async fn ok(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, reply) = self.send(method, path, body).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {reply}");
        reply
    }

    async fn get(&self, path: &str) -> Value {
        self.ok("GET", path, Value::Null).await
    }

    async fn status(&self, method: &str, path: &str, body: Value) -> u16 {
        self.send(method, path, body).await.0
    }

    async fn issue(&self, fields: Value) -> String {
        let mut all =
            json!({"project": {"key": "DEMO"}, "issuetype": {"name": "Task"}, "summary": "One"});
        for (name, value) in fields.as_object().unwrap() {
            all[name] = value.clone();
        }
        let issue = self.ok("POST", "issue", json!({"fields": all})).await;
        issue["id"].as_str().unwrap().to_owned()
    }
}

fn doc(text: &str) -> Value {
    let paragraph = json!({"type": "paragraph", "content": [{"type": "text", "text": text}]});
    json!({"type": "doc", "version": 1, "content": [paragraph]})
}
