//! What goes wrong between the driver and JIRA, each with its end.

use std::time::Duration;

use serde_json::{Value, json};
use stateward_domain::failure::{Effect, ErrorClass, Failure};
use stateward_domain::id::ExternalId;
use stateward_domain::ports::driver::{Observation, Outcome, Update};
use stateward_drivers::jira::fake::{Deployment, Fault, FaultKind};

use super::site::{PROJECT, READ_LAG, Site, connect};
use crate::call_control::{Control, context};
use crate::kind_under_test::Subject;

fn subject(site: &Site, kind: &str, desired: &Value) -> Subject {
    Subject::new(&site.driver, kind, vec![desired.clone()], Value::Null)
}

fn task(summary: &str) -> Value {
    json!({"project": PROJECT, "issuetype": "Task", "summary": summary})
}

#[tokio::test]
async fn a_creation_whose_reply_is_lost_is_found_by_its_mark() {
    let site = Site::new(Deployment::Cloud).await;
    let issue = site.issue("commented");
    for (kind, path, desired) in [
        ("jira.issue", "/issue?", task("lost")),
        ("jira.comment", "/comment", json!({"issue": issue, "body": "lost"})),
    ] {
        for fault in
            [FaultKind::ReplyLost, FaultKind::TruncatedJson, FaultKind::ServerErrorAfterEffect]
        {
            let subject = subject(&site, kind, &desired);
            subject.next_incarnation();
            let before = site.fake.inventory().count();
            site.fake.inject(Fault::once(fault.clone()).at("POST", path));
            let lost = subject.create(&desired).await.expect_err("the reply is lost");
            assert_eq!(
                (lost.class, lost.effect),
                (ErrorClass::Ambiguous, Effect::Maybe),
                "{fault:?}"
            );
            assert_eq!(subject.find(&desired).await.len(), 1, "{kind} {fault:?}");
            assert_eq!(site.fake.inventory().count(), before + 1, "{kind} {fault:?}");
            subject.clear().await;
        }
    }
}

#[tokio::test]
async fn an_issue_without_labels_on_its_screen_is_found_by_its_property() {
    let site = Site::new(Deployment::Cloud).await;
    site.fake.control(|control| {
        control.off_screen.insert("labels".to_owned());
    });
    let desired = task("no labels");
    let subject = subject(&site, "jira.issue", &desired);
    site.fake.inject(Fault::once(FaultKind::ReplyLost).at("POST", "/issue?"));
    subject.create(&desired).await.expect_err("the reply is lost");
    let found = subject.find(&desired).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].owner_key, Some(subject.key()));
    let mut labelled = desired.clone();
    labelled["labels"] = json!(["a"]);
    let refused = subject.create(&labelled).await.expect_err("they are on no screen");
    assert_eq!((refused.class, refused.code.as_str()), (ErrorClass::Invalid, "no_such_field"));
}

#[tokio::test]
async fn of_two_issues_with_one_mark_the_lower_id_comes_first() {
    let site = Site::new(Deployment::Cloud).await;
    let desired = task("twice");
    let subject = subject(&site, "jira.issue", &desired);
    let mut made =
        vec![subject.create(&desired).await.unwrap(), subject.create(&desired).await.unwrap()];
    made.sort_by_key(|id| (id.0.len(), id.0.clone()));
    // The second one is shown by searches, too.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let found: Vec<_> =
        subject.find(&desired).await.into_iter().map(|object| object.external_id).collect();
    assert_eq!(found, made);
}

#[tokio::test]
async fn what_cannot_be_seen_is_not_absent_before_its_project_is_shown() {
    let site = Site::new(Deployment::Cloud).await;
    let desired = task("hidden");
    let subject = subject(&site, "jira.issue", &desired);
    let id = subject.create(&desired).await.unwrap();
    subject.present(&id).await;
    let number: u64 = id.0.parse().unwrap();
    // A lost permission hides both.
    site.fake.hide_issue(number, true);
    site.fake.hide_project(PROJECT, true);
    site.fake.inject(Fault::always(FaultKind::Forbidden).at("GET", "/mypermissions"));
    assert!(!matches!(try_observe(&subject, &id).await, Ok(Observation::Absent { .. })));
    site.fake.clear_faults();
    // Another process does not know the project.
    let mut other = Subject::new(
        &connect(&site.fake, site.deployment),
        "jira.issue",
        vec![desired.clone()],
        Value::Null,
    );
    other.owner = subject.owner;
    assert!(matches!(other.observe(&id).await, Observation::Unknown { .. }));
    // A security level hides the issue alone: JIRA says no more than of a deletion, and a person is asked.
    site.fake.hide_project(PROJECT, false);
    assert!(matches!(subject.observe(&id).await, Observation::Absent { .. }));
    // Credentials that are ignored show nothing at all.
    site.fake.inject(Fault::always(FaultKind::Anonymous));
    let refused = try_observe(&subject, &id).await.expect_err("anonymous");
    assert_eq!(refused.class, ErrorClass::Unauthorized);
}

async fn try_observe(subject: &Subject, id: &ExternalId) -> Result<Observation, Failure> {
    let control = Control::new();
    subject.driver.observe(&context(&control), &subject.target(id)).await
}

#[tokio::test]
async fn refused_credentials_park_the_backend_and_a_search_of_nobody_proves_nothing() {
    let site = Site::new(Deployment::Cloud).await;
    let desired = task("refused");
    let subject = subject(&site, "jira.issue", &desired);
    for fault in [FaultKind::Unauthorized, FaultKind::Captcha, FaultKind::Anonymous] {
        site.fake.inject(Fault::always(fault.clone()));
        let control = Control::new();
        let failure = site.driver.health(&context(&control)).await.expect_err("refused");
        assert_eq!(failure.class, ErrorClass::Unauthorized, "{fault:?}");
        let search = stateward_domain::ports::driver::Search {
            kind: subject.kind.clone(),
            owner_key: subject.key(),
            spec: subject.checked(&desired),
            since: None,
        };
        let failure = site.driver.find(&context(&control), &search).await.expect_err("refused");
        assert_eq!(failure.class, ErrorClass::Unauthorized, "{fault:?}");
        site.fake.clear_faults();
    }
    site.driver.health(&context(&Control::new())).await.unwrap();
}

#[tokio::test]
async fn an_issue_that_someone_moved_keeps_its_identity() {
    let site = Site::new(Deployment::Cloud).await;
    let lead = site.user("bot");
    site.make(
        "project",
        &json!({
            "key": "OTHER", "name": "Other", "projectTypeKey": "software", "leadAccountId": lead,
        }),
    );
    let desired = task("moved");
    let subject = subject(&site, "jira.issue", &desired);
    let id = subject.create(&desired).await.unwrap();
    let key = site.fake.move_issue(&id.0, "OTHER").expect("both exist");
    tokio::time::sleep(Duration::from_millis(400)).await;
    let object = subject.present(&id).await;
    assert_eq!((&object.external_id, &object.attributes["key"]), (&id, &json!(key)));
    assert_eq!(object.owner_key, Some(subject.key()));
    // A replacement needs a permission of its own, and the default policy only reports.
    assert!(subject.update(&id, &desired).await.is_err());
}

#[tokio::test]
async fn others_fields_and_labels_survive_and_the_clock_does_not_matter() {
    let site = Site::new(Deployment::Cloud).await;
    site.fake.control(|control| control.clock_skew_seconds = -600);
    let mut desired = task("shared");
    desired["labels"] = json!(["ours"]);
    let subject = subject(&site, "jira.issue", &desired);
    let id = subject.create(&desired).await.unwrap();
    for round in 0..3 {
        let labels = json!(["ours", "theirs", format!("managed-entity-{}", subject.owner)]);
        let edited = json!({"labels": labels, "environment": null, "customfield_10030": round});
        assert_eq!(site.fake.edit_elsewhere(&id.0, &edited), 204);
        desired["summary"] = json!(format!("shared {round}"));
        subject.update(&id, &desired).await.unwrap();
    }
    desired["labels"] = json!([]);
    subject.update(&id, &desired).await.unwrap();
    // The edits of others may become visible one by one.
    tokio::time::sleep(2 * READ_LAG).await;
    let observed = subject.present(&id).await.attributes;
    assert_eq!(observed["labels"], json!(["theirs"]));
    assert_eq!(observed["fields"]["customfield_10030"].as_f64(), Some(2.0));
    assert_eq!(subject.find(&desired).await.len(), 1);
}

#[tokio::test]
async fn the_limit_of_one_issue_delays_its_change_and_no_other() {
    let site = Site::new(Deployment::Cloud).await;
    let desired = task("limited");
    let subject = subject(&site, "jira.issue", &desired);
    let id = subject.create(&desired).await.unwrap();
    let observed = subject.present(&id).await.attributes;
    let reason = "jira-per-issue-on-write".to_owned();
    let limit = FaultKind::RateLimited { retry_after: 1, reason };
    site.fake.inject(Fault::once(limit).at("PUT", "/issue/"));
    let changed = task("limited no more");
    let update = Update {
        target: subject.target(&id),
        spec: subject.checked(&changed),
        fields: vec!["/summary".to_owned()],
        observed,
    };
    let outcome = site.driver.update(&context(&Control::new()), &update).await.unwrap();
    let Outcome::Pending { poll_after_ms, .. } = &outcome else { panic!("{outcome:?}") };
    assert_eq!(*poll_after_ms, 1_000);
    assert_eq!(subject.finished(outcome).await.unwrap(), Some(id.clone()));
    assert_eq!(subject.present(&id).await.attributes["summary"], "limited no more");
    // One of an endpoint pauses the kind.
    let limit = FaultKind::RateLimited { retry_after: 7, reason: "jira-burst-based".to_owned() };
    site.fake.inject(Fault::once(limit).at("PUT", "/issue/"));
    let limited = site.driver.update(&context(&Control::new()), &update).await.expect_err("429");
    let scope = "jira.issue".to_owned();
    assert_eq!(limited.class, ErrorClass::RateLimited { after_ms: 7_000, scope });
}

#[tokio::test]
async fn a_deletion_of_a_project_waits_for_what_people_have_to_do() {
    let site = Site::new(Deployment::Cloud).await;
    let desired = json!({"key": "GOING", "name": "Going", "lead": "alice@example.com"});
    let subject = subject(&site, "jira.project", &desired);
    let id = subject.create(&desired).await.unwrap();
    assert_eq!(site.fake.act("bot", "POST", "project/GOING/archive", &json!({})).0, 204);
    tokio::time::sleep(Duration::from_millis(400)).await;
    let archived = subject.delete(&id).await.expect_err("archived");
    assert_eq!(archived.class, ErrorClass::InUseOutside);
    assert_eq!(site.fake.act("bot", "POST", "project/GOING/restore", &json!({})).0, 200);
    tokio::time::sleep(Duration::from_millis(400)).await;
    site.fake.control(|control| control.tasks_fail = true);
    let failed = subject.delete(&id).await.expect_err("the task fails");
    assert_eq!((failed.class, failed.effect), (ErrorClass::Refused, Effect::Partial));
    site.fake.control(|control| control.tasks_fail = false);
    // A key that the recycle bin keeps.
    assert_eq!(site.fake.act("bot", "DELETE", "project/GOING?enableUndo=true", &json!({})).0, 204);
    tokio::time::sleep(Duration::from_millis(400)).await;
    subject.is_proved_absent(&id).await;
    let taken = subject.create(&desired).await.expect_err("the key is taken");
    assert_eq!(
        (taken.class, taken.code.as_str()),
        (ErrorClass::InUseOutside, "key_in_recycle_bin")
    );
    assert!(taken.message.contains("restore"), "{}", taken.message);
}
