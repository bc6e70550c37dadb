//! The operations of tests on a running site, in the process and over HTTP below `/_fake/`.
//!
//! | Request | Effect |
//! |---|---|
//! | `GET /_fake/inventory` | what exists, without lag |
//! | `GET`, `DELETE /_fake/requests` | the log of requests |
//! | `GET /_fake/rates` | numbers of requests, and the greatest within a second |
//! | `GET /_fake/accounts` | users and their credentials |
//! | `GET`, `PUT /_fake/control` | conditions of the site ([`Control`]) |
//! | `GET`, `POST`, `DELETE /_fake/faults` | faults of the next requests ([`Fault`]) |
//! | `POST /_fake/act` | `{"user", "method", "path", "body"}`: a call as a user, past limits and faults |
//! | `POST /_fake/move` | `{"issue", "project"}`: moves an issue; its key changes and its id does not |
//! | `PUT /_fake/users/{name}` | `{"active": bool}` |
//! | `DELETE /_fake/tokens` | ends all access tokens |

use std::time::Instant;

use hyper::Method;
use serde_json::{Value, json};

use super::call::Reply;
use super::control::Control;
use super::faults::Fault;
use super::inventory::{Inventory, accounts};
use super::state::{Received, State};

impl State {
    /// Moves an issue to another project; returns its new key, or `None` if one of them does not exist.
    pub(crate) fn move_issue(&mut self, issue: &str, project: &str) -> Option<String> {
        let now = Instant::now();
        let time = self.time();
        let view = self.world.view(now, false);
        let (issue, project) = (view.issue(issue)?.clone(), view.project(project)?.clone());
        let old_key = view.key(&issue);
        let number = self.world.next_number(project.id);
        let key = format!("{}-{number}", project.key);
        self.world.record_key(key.clone(), issue.id);
        self.world.issues.change(issue.id, now, |row| {
            row.project = project.id;
            row.number = number;
            row.former_keys.push(old_key);
            row.updated = time;
            // Components and versions belong to the project that the issue left.
            for field in ["components", "fixVersions", "versions"] {
                row.fields.remove(field);
            }
        });
        Some(key)
    }

    /// Activates or deactivates a user; returns false if there is no such user.
    pub(crate) fn set_active(&mut self, name: &str, active: bool) -> bool {
        let user = self.world.users.iter_mut().find(|user| user.name == name);
        user.map(|user| user.active = active).is_some()
    }

    /// Answers a request below `/_fake/`.
    pub(crate) fn operate(&mut self, request: &Received, path: &str) -> Reply {
        let body = || serde_json::from_slice::<Value>(&request.body).unwrap_or(Value::Null);
        let done = |is_done: bool| Reply::empty(if is_done { 204 } else { 404 });
        match (request.method.as_str(), path) {
            ("GET", "inventory") => shown(&Inventory::of(&self.world, Instant::now())),
            ("GET", "requests") => shown(&self.log),
            ("DELETE", "requests") => {
                self.log.clear();
                self.limits.forget_rates();
                done(true)
            }
            ("GET", "rates") => {
                let mut rates = json!(self.limits.rates());
                rates["leaked_credentials"] = json!(self.leaked_credentials);
                Reply::ok(rates)
            }
            ("GET", "accounts") => shown(&accounts(&self.world)),
            ("GET", "control") => shown(&self.world.control),
            ("PUT", "control") => match serde_json::from_slice::<Control>(&request.body) {
                Ok(control) => {
                    self.world.control = control;
                    done(true)
                }
                Err(error) => Reply::text(400, "text/plain", &error.to_string()),
            },
            ("GET", "faults") => shown(&self.faults.pending()),
            ("POST", "faults") => match serde_json::from_slice::<Fault>(&request.body) {
                Ok(fault) => Reply::empty(if self.faults.add(fault) { 204 } else { 400 }),
                Err(error) => Reply::text(400, "text/plain", &error.to_string()),
            },
            ("DELETE", "faults") => {
                self.faults.clear();
                done(true)
            }
            ("DELETE", "tokens") => {
                self.tokens.revoke();
                done(true)
            }
            ("POST", "act") => self.act_as(&body()),
            ("POST", "move") => {
                let body = body();
                let text = |name: &str| body[name].as_str().unwrap_or_default();
                match self.move_issue(text("issue"), text("project")) {
                    Some(key) => Reply::ok(json!({"key": key})),
                    None => done(false),
                }
            }
            ("PUT", path) => match path.strip_prefix("users/") {
                Some(name) => done(self.set_active(name, body()["active"] != false)),
                None => done(false),
            },
            _ => done(false),
        }
    }

    fn act_as(&mut self, body: &Value) -> Reply {
        let text = |name: &str| body[name].as_str().unwrap_or_default();
        let Ok(method) = text("method").parse::<Method>() else { return Reply::empty(400) };
        let (status, reply) = self.act(text("user"), method, text("path"), &body["body"]);
        Reply::ok(json!({"status": status, "body": reply}))
    }
}

fn shown(value: &impl serde::Serialize) -> Reply {
    Reply::ok(json!(value))
}
