//! Statuses of issues, and what screens and workflows ask for.

use serde_json::{Value, json};
use stateward_domain::failure::ErrorClass;
use stateward_domain::id::ActionName;
use stateward_domain::ports::driver::{Act, Plan};
use stateward_drivers::jira::fake::Deployment;

use super::site::{PROJECT, READ_LAG, Site};
use crate::call_control::{Control, context};
use crate::kind_under_test::Subject;

fn subject(site: &Site, desired: &Value) -> Subject {
    Subject::new(&site.driver, "jira.issue", vec![desired.clone()], Value::Null)
}

fn task(changes: &Value) -> Value {
    let mut task = json!({"project": PROJECT, "issuetype": "Task", "summary": "a task"});
    for (name, value) in changes.as_object().expect("changes are an object") {
        task[name] = value.clone();
    }
    task
}

#[tokio::test]
async fn a_status_is_reached_along_the_path_one_hop_at_a_time() {
    let site = Site::new(Deployment::Cloud).await;
    let path = json!(["In Progress", "In Review"]);
    let desired = task(&json!({"status": "Done", "statusPath": path, "resolution": "Done"}));
    let subject = subject(&site, &desired);
    let id = subject.create(&desired).await.unwrap();
    assert_eq!(
        subject.plan(&id, &desired).await,
        Plan::Update { fields: vec!["/resolution".to_owned(), "/status".to_owned()] }
    );
    site.fake.clear_requests();
    subject.update(&id, &desired).await.unwrap();
    assert_eq!(subject.plan(&id, &desired).await, Plan::Noop);
    let observed = subject.present(&id).await.attributes;
    assert_eq!((&observed["status"], &observed["resolution"]), (&json!("Done"), &json!("Done")));
    let hops = site
        .fake
        .requests()
        .into_iter()
        .filter(|request| request.method == "POST" && request.path.contains("/transitions"));
    assert_eq!(hops.count(), 3, "no hop is tried that is not on the path");
}

#[tokio::test]
async fn a_status_without_a_way_is_refused_with_what_the_workflow_offers() {
    let site = Site::new(Deployment::Cloud).await;
    for (changes, code, part) in [
        (json!({"status": "Done"}), "no_transition", "`In Progress`"),
        (json!({"status": "Nowhere"}), "no_transition", "statusPath"),
        (
            json!({"status": "Done", "statusPath": ["In Progress", "To Do", "In Progress"]}),
            "no_transition",
            "In Review",
        ),
        // The transition asks for a resolution.
        (
            json!({"status": "Done", "statusPath": ["In Progress", "In Review"]}),
            "required_field",
            "Resolution",
        ),
        // Nothing names what this validator wants before it refuses.
        (
            json!({"status": "Done", "statusPath": ["In Progress"], "resolution": "Done",
                "fields": {"Root cause": "short"}}),
            "refused",
            "",
        ),
    ] {
        let desired = task(&changes);
        let subject = subject(&site, &desired);
        subject.next_incarnation();
        let id = subject.create(&desired).await.unwrap();
        let refused = subject.update(&id, &desired).await.expect_err("no way");
        assert_eq!(
            (refused.class, refused.code.as_str()),
            (ErrorClass::Invalid, code),
            "{changes}"
        );
        assert!(refused.message.contains(part), "{changes}: {}", refused.message);
    }
}

#[tokio::test]
async fn what_a_screen_does_not_take_is_refused_before_anything_is_sent() {
    let site = Site::new(Deployment::Cloud).await;
    assert!(site.fake.set_active("bob", false));
    site.fake.control(|control| {
        control.off_screen.insert("duedate".to_owned());
    });
    let posts = || {
        let requests = site.fake.requests().into_iter();
        requests
            .filter(|request| request.method == "POST" && request.path.ends_with("/issue"))
            .count()
    };
    for (changes, code, part) in [
        (json!({"issuetype": "Tsak"}), "no_such_issue_type", "`Task`"),
        (json!({"issuetype": "Bug"}), "required_field", "Severity"),
        (json!({"issuetype": "Bug", "fields": {"Severity": "Highh"}}), "no_such_value", "`High`"),
        (json!({"fields": {"Story Point": 3}}), "no_such_field", "`Story Points`"),
        (json!({"duedate": "2027-01-01"}), "no_such_field", "duedate"),
        (json!({"priority": "Urgent"}), "no_such_value", "Priority"),
        (json!({"components": ["Nope"]}), "no_such_value", "`API`"),
        (json!({"assignee": site.user("bob")}), "user_deactivated", "deactivated"),
        (json!({"assignee": "nobody@example.com"}), "no_such_user", "nobody@example.com"),
    ] {
        let desired = task(&changes);
        let refused = subject(&site, &desired).create(&desired).await.expect_err("refused");
        assert_eq!(
            (refused.class, refused.code.as_str()),
            (ErrorClass::Invalid, code),
            "{changes}"
        );
        assert!(refused.message.contains(part), "{changes}: {}", refused.message);
    }
    assert_eq!(posts(), 0);
}

#[tokio::test]
async fn an_issue_with_subtasks_is_not_deleted_with_them() {
    let site = Site::new(Deployment::Cloud).await;
    let desired = task(&json!({}));
    let subject = subject(&site, &desired);
    let id = subject.create(&desired).await.unwrap();
    let child = json!({"fields": {"project": {"key": PROJECT}, "issuetype": {"name": "Sub-task"},
        "summary": "a part", "parent": {"id": id.0}}});
    let child = site.make("issue", &child);
    tokio::time::sleep(2 * READ_LAG).await;
    let refused = subject.delete(&id).await.expect_err("it has a subtask");
    assert_eq!(refused.class, ErrorClass::InUseOutside, "{refused}");
    assert!(refused.message.contains(child["key"].as_str().unwrap()), "{}", refused.message);
}

#[tokio::test]
async fn actions_touch_no_managed_field() {
    let site = Site::new(Deployment::Cloud).await;
    let desired = task(&json!({"status": "To Do"}));
    let subject = subject(&site, &desired);
    let id = subject.create(&desired).await.unwrap();
    let act = |action: &str, input: Value, spec: &Value| Act {
        target: subject.target(&id),
        action: ActionName::from(action),
        input,
        spec: spec.clone(),
    };
    let start = act("transition", json!({"transition": "Start"}), &desired);
    let refused = site.driver.action(&context(&Control::new()), &start).await.expect_err("managed");
    assert_eq!(refused.code, "managed_field");
    let unmanaged = task(&json!({}));
    let start = act("transition", json!({"transition": "Start"}), &unmanaged);
    site.driver.action(&context(&Control::new()), &start).await.unwrap();
    assert_eq!(subject.present(&id).await.attributes["status"], "In Progress");
    let watch = act("watch", json!({"user": "alice@example.com"}), &unmanaged);
    site.driver.action(&context(&Control::new()), &watch).await.unwrap();
    tokio::time::sleep(2 * READ_LAG).await;
    let (_, watchers) =
        site.fake.act("bot", "GET", &format!("issue/{}/watchers", id.0), &Value::Null);
    let names: Vec<_> =
        watchers["watchers"].as_array().unwrap().iter().map(|w| &w["displayName"]).collect();
    assert!(names.contains(&&json!("Alice Adams")), "{names:?}");
}
