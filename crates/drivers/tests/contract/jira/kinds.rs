//! The whole contract, for every kind, on Cloud and on Data Center.

use serde_json::{Value, json};
use stateward_drivers::jira::fake::Deployment;

use super::site::{PROJECT, Site};
use crate::kind_under_test::Subject;
use crate::suite::run_all;

macro_rules! kinds {
    ($($cloud:ident, $data_center:ident, $kind:literal: $plans:path;)*) => {
        /// Every kind that has a subject here.
        pub(crate) const KINDS: &[&str] = &[$($kind),*];

        $(
            #[tokio::test]
            async fn $cloud() {
                keeps_every_promise(Deployment::Cloud, $kind, $plans).await;
            }

            #[tokio::test]
            async fn $data_center() {
                keeps_every_promise(Deployment::DataCenter, $kind, $plans).await;
            }
        )*
    };
}

kinds! {
    an_issue_keeps_every_promise_on_cloud, an_issue_keeps_every_promise_on_data_center,
        "jira.issue": issue;
    a_comment_keeps_every_promise_on_cloud, a_comment_keeps_every_promise_on_data_center,
        "jira.comment": comment;
    a_project_keeps_every_promise_on_cloud, a_project_keeps_every_promise_on_data_center,
        "jira.project": project;
    a_version_keeps_every_promise_on_cloud, a_version_keeps_every_promise_on_data_center,
        "jira.version": version;
    a_component_keeps_every_promise_on_cloud, a_component_keeps_every_promise_on_data_center,
        "jira.component": component;
    an_issue_link_keeps_every_promise_on_cloud, an_issue_link_keeps_every_promise_on_data_center,
        "jira.issue_link": issue_link;
    a_remote_link_keeps_every_promise_on_cloud, a_remote_link_keeps_every_promise_on_data_center,
        "jira.remote_link": remote_link;
}

/// A desired state, changes of one field each, and a change of an immutable field.
struct Plans {
    desired: Value,
    changes: Vec<Value>,
    immutable: Value,
}

async fn keeps_every_promise(deployment: Deployment, kind: &str, plans: fn(&Site) -> Plans) {
    let site = Site::new(deployment).await;
    let Plans { desired, changes, immutable } = plans(&site);
    let with = |change: &Value| {
        let mut desired = desired.clone();
        for (name, value) in change.as_object().expect("a change is an object") {
            desired[name] = value.clone();
        }
        desired
    };
    let all = [vec![desired.clone()], changes.iter().map(with).collect()].concat();
    let subject = Subject::new(&site.driver, kind, all, with(&immutable));
    run_all(&subject).await;
}

fn issue(site: &Site) -> Plans {
    Plans {
        desired: json!({
            "project": PROJECT, "issuetype": "Task", "summary": "Set up the account",
            "description": "# Steps\n\n1. *First*\n2. **Second** with `code`\n\nSee [docs](https://a.example).",
            "priority": "High", "assignee": "alice@example.com", "labels": ["onboarding"],
            "components": [], "fixVersions": [], "duedate": "2027-01-31", "status": "To Do",
            "fields": {"Story Points": 5, "Teams": ["Red", "Blue"]},
        }),
        changes: vec![
            json!({"summary": "Set up the accounts"}),
            json!({"description": {"text": "plain * text"}}),
            json!({"description": null}),
            json!({"issuetype": "Story"}),
            json!({"priority": "4"}),
            json!({"assignee": site.user("bob")}),
            json!({"assignee": null}),
            json!({"labels": ["onboarding", "urgent"]}),
            json!({"labels": []}),
            json!({"components": ["API"]}),
            json!({"fixVersions": ["1.0"]}),
            json!({"duedate": "2027-02-28"}),
            json!({"duedate": null}),
            json!({"status": "On Hold"}),
            json!({"fields": {"Story Points": 8, "Teams": ["Red", "Blue"]}}),
            json!({"fields": {"customfield_10030": 5, "Teams": ["Red"], "Notes": "*a*", "Reviewer": "Bob Brown"}}),
        ],
        immutable: json!({"project": "ELSEWHERE"}),
    }
}

fn comment(site: &Site) -> Plans {
    Plans {
        desired: json!({"issue": site.issue("commented"), "body": "Please **read**", "visibility": null}),
        changes: vec![
            json!({"body": "- Please\n- read"}),
            json!({"visibility": {"type": "role", "value": "Administrators"}}),
        ],
        immutable: json!({"issue": "1"}),
    }
}

fn project(site: &Site) -> Plans {
    Plans {
        desired: json!({
            "key": "NEWCOMER", "name": "Newcomer", "description": "One", "lead": "alice@example.com",
            "assigneeType": "PROJECT_LEAD", "url": "",
        }),
        changes: vec![
            json!({"name": "Newcomers"}),
            json!({"description": "Two"}),
            json!({"lead": site.user("bob")}),
            json!({"assigneeType": "UNASSIGNED"}),
            json!({"url": "https://a.example/new"}),
        ],
        immutable: json!({"key": "ELSEWHERE"}),
    }
}

fn version(_: &Site) -> Plans {
    Plans {
        desired: json!({
            "project": PROJECT, "name": "2.0", "description": "One", "startDate": "2027-01-01",
            "releaseDate": "2027-02-01", "released": false, "archived": false,
        }),
        changes: vec![
            json!({"description": "Two"}),
            json!({"startDate": "2027-01-02"}),
            json!({"releaseDate": "2027-03-01"}),
            json!({"released": true}),
            json!({"archived": true}),
        ],
        immutable: json!({"name": "3.0"}),
    }
}

fn component(site: &Site) -> Plans {
    Plans {
        desired: json!({
            "project": PROJECT, "name": "Web", "description": "One", "lead": "alice@example.com",
            "assigneeType": "PROJECT_DEFAULT",
        }),
        changes: vec![
            json!({"description": "Two"}),
            json!({"lead": site.user("bob")}),
            json!({"assigneeType": "UNASSIGNED"}),
        ],
        immutable: json!({"name": "Shop"}),
    }
}

fn issue_link(site: &Site) -> Plans {
    let (inward, outward) = (site.issue("one"), site.issue("other"));
    Plans {
        desired: json!({"type": "Blocks", "inwardIssue": inward, "outwardIssue": outward}),
        changes: Vec::new(),
        immutable: json!({"type": "Relates"}),
    }
}

fn remote_link(site: &Site) -> Plans {
    let object = json!({"url": "https://a.example/1", "title": "One", "summary": "s"});
    let other = json!({"url": "https://a.example/1", "title": "Two", "summary": "s"});
    Plans {
        desired: json!({
            "issue": site.issue("linked"), "globalId": "system=1&id=1", "relationship": "causes",
            "application": {"type": "com.acme", "name": "Acme"}, "object": object,
        }),
        changes: vec![
            json!({"relationship": "explains"}),
            json!({"application": {"type": "com.acme", "name": "Acme 2"}}),
            json!({"object": other}),
        ],
        immutable: json!({"globalId": "system=1&id=2"}),
    }
}
