//! `/myself`, `/user` and the watchers of issues.

use serde_json::{Value, json};

use super::changing::{to_change, touch, writer};
use crate::jira::fake::call::{Answer, Call, Problem, Reply};
use crate::jira::fake::render::Render;
use crate::jira::fake::render_issue::{reading, writing};
use crate::jira::fake::rows::User;
use crate::jira::fake::world::World;

/// Users of a list at most.
const LIST_MAX: usize = 1_000;

pub(crate) fn myself(world: &World, call: &Call) -> Answer {
    let name = writer(call)?;
    let mut user = Render { view: reading(world, call), call }.user_named(name);
    user["locale"] = json!("en_US");
    user["groups"] = json!({"size": 1, "items": []});
    user["applicationRoles"] = json!({"size": 1, "items": []});
    user["expand"] = json!("groups,applicationRoles");
    Ok(Reply::ok(user))
}

/// The user that a query names.
fn named<'a>(world: &'a World, call: &Call) -> Option<&'a User> {
    let users = &world.users;
    if call.is_cloud {
        let id = call.param("accountId")?;
        return users.iter().find(|user| user.account_id == id);
    }
    let name = call.param("username").or_else(|| call.param("key"))?;
    users.iter().find(|user| user.name == name)
}

pub(crate) fn read(world: &World, call: &Call) -> Answer {
    writer(call)?;
    let user = named(world, call);
    let user = user.ok_or_else(|| Problem::message(404, "The user does not exist."))?;
    Ok(Reply::ok(Render { view: reading(world, call), call }.user(user)))
}

/// `/user/search` and `/user/assignable/search`.
pub(crate) fn search(world: &World, call: &Call, is_assignable: bool) -> Answer {
    writer(call)?;
    let text = if call.is_cloud { call.param("query") } else { call.param("username") };
    if let Some(user) = named(world, call).filter(|_| call.is_cloud) {
        let render = Render { view: reading(world, call), call };
        return Ok(Reply::ok(json!([render.user(user)])));
    }
    if text.is_none() && !is_assignable {
        let names = if call.is_cloud { "'query', 'accountId', 'property'" } else { "'username'" };
        let text = format!("One of the parameters {names} must be given.");
        return Err(Problem::message(400, &text));
    }
    if is_assignable && let Some(project) = call.param("project") {
        let view = reading(world, call);
        view.project(project).ok_or_else(|| Problem::no_project(project))?;
    }
    let text = text.unwrap_or_default().to_lowercase();
    let text = if text == "." { "" } else { &text };
    let render = Render { view: reading(world, call), call };
    let (start, size) = (call.number("startAt", 0)?, call.number("maxResults", 50)?);
    let shows_inactive = !call.is_cloud && call.flag("includeInactive") == Some(true);
    let found = world.users.iter().filter(|user| {
        let names = [&user.name, &user.display_name, &user.email];
        (user.active || shows_inactive)
            && names.iter().any(|name| name.to_lowercase().contains(text))
    });
    let shown = found.skip(start).take(size.min(LIST_MAX)).map(|user| render.user(user));
    Ok(Reply::ok(shown.collect()))
}

pub(crate) fn watchers(world: &World, call: &Call, issue: &str) -> Answer {
    let view = reading(world, call);
    let issue = view.issue(issue).ok_or_else(Problem::no_issue)?;
    let render = Render { view, call };
    let mut shown = render.watches(issue);
    let watchers: Vec<_> = issue.watchers.iter().map(|name| watcher(render, name)).collect();
    shown["watchers"] = json!(watchers);
    Ok(Reply::ok(shown))
}

fn watcher(render: Render<'_>, name: &str) -> Value {
    render.user_named(name)
}

fn named_watcher<'a>(world: &'a World, call: &Call, name: &str) -> Result<&'a User, Problem> {
    let found = world
        .users
        .iter()
        .find(|user| if call.is_cloud { user.account_id == name } else { user.name == name });
    found
        .filter(|user| user.active)
        .ok_or_else(|| Problem::message(400, "The user does not exist."))
}

/// `POST`: the body is the id of a user as a JSON string; none = the caller.
pub(crate) fn watch(world: &mut World, call: &Call, issue: &str) -> Answer {
    let issue = to_change(world, call, issue)?.id;
    let user = if call.body.is_empty() {
        writer(call)?.to_owned()
    } else {
        let body = call.json()?;
        named_watcher(world, call, body.as_str().unwrap_or_default())?.name.clone()
    };
    world.issues.change(issue, call.now, |issue| {
        issue.watchers.insert(user);
    });
    Ok(Reply::empty(204))
}

pub(crate) fn unwatch(world: &mut World, call: &Call, issue: &str) -> Answer {
    let issue = to_change(world, call, issue)?.id;
    let named = call.param(if call.is_cloud { "accountId" } else { "username" });
    let named = named.ok_or_else(|| Problem::message(400, "The user is not named."))?;
    let user = named_watcher(world, call, named)?.name.clone();
    world.issues.change(issue, call.now, |issue| {
        issue.watchers.remove(&user);
    });
    Ok(Reply::empty(204))
}

/// `PUT /issue/{id}/archive` and `…/restore` of Data Center, and the lists of Cloud.
pub(crate) fn archive(world: &mut World, call: &Call, names: &[&str], is_archived: bool) -> Answer {
    let user = writer(call)?;
    let is_administrator = world.user(user).is_some_and(|user| user.administers);
    if !is_administrator || !world.options.premium {
        let text = "Only admins can archive or unarchive issues. Access denied.";
        return Err(Problem::message(403, text));
    }
    let view = writing(world, call);
    let (found, missing): (Vec<&str>, Vec<&str>) =
        names.iter().copied().partition(|name| view.issue(name).is_some());
    let ids: Vec<_> =
        found.iter().filter_map(|name| view.issue(name).map(|issue| issue.id)).collect();
    if ids.is_empty() {
        let text = "No valid issue to archive or unarchive. Bad request.";
        return Err(Problem::message(400, text));
    }
    for id in &ids {
        world.issues.change(*id, call.now, |issue| issue.archived = is_archived);
        touch(world, call, *id);
    }
    let mut errors = json!({});
    if !missing.is_empty() {
        errors["issuesNotFound"] = json!({"count": missing.len(), "issueIdsOrKeys": missing, "message": "Issue not found."});
    }
    Ok(Reply::ok(json!({"numberOfIssuesUpdated": ids.len(), "errors": errors})))
}
