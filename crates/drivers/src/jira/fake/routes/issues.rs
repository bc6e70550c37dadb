//! `/issue`: create, read, edit, delete.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::changing::{properties_of, store, to_change, writer};
use super::comments;
use super::links;
use crate::jira::fake::call::{Answer, Call, Problem, Reply};
use crate::jira::fake::field_catalog::FIELDS;
use crate::jira::fake::field_changes::FieldChanges;
use crate::jira::fake::field_values::Target;
use crate::jira::fake::render::Render;
use crate::jira::fake::render_issue::{Selection, is_on_screen, is_required, reading, writing};
use crate::jira::fake::rows::Issue;
use crate::jira::fake::site::{self, IssueType};
use crate::jira::fake::world::{View, World};

pub(crate) fn create(world: &mut World, call: &Call) -> Answer {
    let user = writer(call)?.to_owned();
    let body = call.json()?;
    let (issue, changes) = drafted(world, call, &user, &body)?;
    comments::check(call, &changes.comments)?;
    let id = world.next_id();
    let number = world.next_number(issue.project);
    let issue = Issue { id, number, ..issue };
    let key = {
        let project = world.projects.get(issue.project, call.now);
        format!("{}-{number}", project.map_or("", |project| project.key.as_str()))
    };
    world.record_key(key.clone(), id);
    world.issues.put(id, issue, call.now);
    add_others(world, call, id, &changes)?;
    let address = call.address(&format!("issue/{id}"));
    Ok(Reply::json(201, &json!({"id": id.to_string(), "key": key, "self": address})))
}

/// The issue that a body describes, without id and number.
fn drafted(
    world: &World,
    call: &Call,
    user: &str,
    body: &Value,
) -> Result<(Issue, FieldChanges), Problem> {
    let view = writing(world, call);
    let named = &body["fields"]["project"];
    let name = named["id"].as_str().or_else(|| named["key"].as_str()).unwrap_or_default();
    let Some(project) = view.project(name) else {
        return Err(Problem::field("project", "Specify a valid project ID or key"));
    };
    if project.archived {
        return Err(Problem::field("project", "The project is archived."));
    }
    let target = Target { view, call, project: project.id };
    let changes = FieldChanges::of(target, body, &BTreeMap::new(), &|def| {
        is_on_screen(world, def) || is_implied(def.id)
    })?;
    let mut fields = BTreeMap::new();
    changes.apply(&mut fields);
    fields.remove("project");
    let kind = fields.get("issuetype").and_then(Value::as_str).and_then(site::issue_type);
    let Some(kind) = kind else {
        return Err(Problem::field("issuetype", "Specify an issue type"));
    };
    require(&fields, kind)?;
    fields.entry("priority".to_owned()).or_insert_with(|| json!(site::DEFAULT_PRIORITY));
    fields.entry("reporter".to_owned()).or_insert_with(|| json!(user));
    if !changes.fields.contains_key("assignee") {
        let assignee = target.automatic_assignee();
        if !assignee.is_null() {
            fields.insert("assignee".to_owned(), assignee);
        }
    }
    let issue = Issue {
        id: 0,
        number: 0,
        project: project.id,
        former_keys: Vec::new(),
        status: site::FIRST_STATUS,
        creator: user.to_owned(),
        created: call.time,
        updated: call.time,
        resolved: None,
        fields,
        properties: properties_of(body),
        watchers: BTreeSet::from([user.to_owned()]),
        archived: false,
    };
    check_parent(view, &issue)?;
    Ok((issue, changes))
}

/// Fields that a create call sets although no screen shows them.
fn is_implied(field: &str) -> bool {
    matches!(field, "project" | "issuetype" | "summary" | "parent")
}

fn require(fields: &BTreeMap<String, Value>, kind: &IssueType) -> Result<(), Problem> {
    let missing = FIELDS.iter().filter(|def| {
        is_required(def, kind) && def.id != "project" && !fields.contains_key(def.id)
    });
    let errors: BTreeMap<_, _> = missing
        .map(|def| match def.id {
            "summary" => {
                ("summary".to_owned(), "You must specify a summary of the issue.".to_owned())
            }
            "parent" => {
                let text = "Issue type is a sub-task but parent issue key or id not specified.";
                ("issuetype".to_owned(), text.to_owned())
            }
            id => (id.to_owned(), format!("{} is required.", def.name)),
        })
        .collect();
    Problem::fields(errors).map_or(Ok(()), Err)
}

/// The type of a parent is one level above that of its child.
fn check_parent(view: View<'_>, issue: &Issue) -> Result<(), Problem> {
    let level = |issue: &Issue| site::issue_type(issue.text("issuetype")).map(|kind| kind.level);
    let Some(parent) = issue.parent().and_then(|id| view.issue(&id.to_string())) else {
        return Ok(());
    };
    if level(parent) == level(issue).map(|level| level + 1) && parent.id != issue.id {
        return Ok(());
    }
    let text = "Given parent work item does not belong to appropriate hierarchy.";
    Err(Problem::field("parentId", text))
}

/// Adds the comments and links of a request to the issue that it changed.
fn add_others(
    world: &mut World,
    call: &Call,
    issue: u64,
    changes: &FieldChanges,
) -> Result<(), Problem> {
    for comment in &changes.comments {
        comments::add(world, call, issue, comment)?;
    }
    for link in &changes.links {
        links::add(world, call, Some(issue), link)?;
    }
    Ok(())
}

pub(crate) fn read(world: &World, call: &Call, name: &str) -> Answer {
    let view = reading(world, call);
    let issue = view.issue(name).ok_or_else(Problem::no_issue)?;
    let selection = Selection::of_query(call, "*all");
    Ok(Reply::ok(Render { view, call }.issue(issue, &selection)))
}

pub(crate) fn edit(world: &mut World, call: &Call, name: &str) -> Answer {
    let issue = to_change(world, call, name)?;
    let body = call.json()?;
    let view = writing(world, call);
    let target = Target { view, call, project: issue.project };
    let changes = FieldChanges::of(target, &body, &issue.fields, &|def| {
        is_on_screen(world, def) && def.id != "project"
    })?;
    let mut edited = issue.clone();
    changes.apply(&mut edited.fields);
    let kind = site::issue_type(edited.text("issuetype"));
    if let Some(kind) = kind {
        require(&edited.fields, kind)?;
    }
    check_parent(view, &edited)?;
    edited.properties.extend(properties_of(&body));
    comments::check(call, &changes.comments)?;
    store(world, call, &issue, edited);
    add_others(world, call, issue.id, &changes)?;
    if call.flag("returnIssue") == Some(true) {
        let view = writing(world, call);
        let issue = view.issue(name).ok_or_else(Problem::no_issue)?;
        let selection = Selection::of_query(call, "*all");
        return Ok(Reply::ok(Render { view, call }.issue(issue, &selection)));
    }
    Ok(Reply::empty(204))
}

pub(crate) fn delete(world: &mut World, call: &Call, name: &str) -> Answer {
    let issue = to_change(world, call, name)?;
    let view = writing(world, call);
    let subtasks: Vec<_> = view
        .children(issue.id)
        .filter(|child| child.text("issuetype") == site::SUBTASK)
        .map(|child| child.id)
        .collect();
    if !subtasks.is_empty() && call.flag("deleteSubtasks") != Some(true) {
        let key = view.key(&issue);
        return Err(Problem::message(
            400,
            &format!(
                "The issue '{key}' has subtasks.  You must specify the 'deleteSubtasks' parameter to delete this issue and all its subtasks."
            ),
        ));
    }
    for id in subtasks.into_iter().chain([issue.id]) {
        world.delete_issue(id, call.now);
    }
    Ok(Reply::empty(204))
}

pub(crate) fn assign(world: &mut World, call: &Call, name: &str) -> Answer {
    let issue = to_change(world, call, name)?;
    let body = call.json()?;
    let target = Target { view: writing(world, call), call, project: issue.project };
    let fields = json!({"fields": {"assignee": body}});
    let changes = FieldChanges::of(target, &fields, &issue.fields, &|_| true)?;
    let mut edited = issue.clone();
    changes.apply(&mut edited.fields);
    store(world, call, &issue, edited);
    Ok(Reply::empty(204))
}

pub(crate) fn edit_meta(world: &World, call: &Call, name: &str) -> Answer {
    let view = reading(world, call);
    let issue = view.issue(name).ok_or_else(Problem::no_issue)?;
    Ok(Reply::ok(json!({"fields": Render { view, call }.edit_meta(issue)})))
}
