//! `/issue/{id}/remotelink`.

use serde_json::{Value, json};

use super::changing::{to_change, touch};
use crate::jira::fake::call::{Answer, Call, Problem, Reply};
use crate::jira::fake::render::Render;
use crate::jira::fake::render_issue::{reading, writing};
use crate::jira::fake::rows::RemoteLink;
use crate::jira::fake::world::{View, World};

fn missing() -> Problem {
    Problem::message(404, "The remote link does not exist.")
}

/// The link that a body describes: what it leaves out is not set.
fn described(body: &Value, id: u64, issue: u64) -> Result<RemoteLink, Problem> {
    let object = &body["object"];
    for name in ["url", "title"] {
        if object[name].as_str().is_none_or(str::is_empty) {
            return Err(Problem::field(name, &format!("'{name}' is required.")));
        }
    }
    let text = |name: &str| body[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let global_id = text("globalId");
    if global_id.as_ref().is_some_and(|id| id.len() > 255) {
        return Err(Problem::field("globalId", "'globalId' must not exceed 255 characters."));
    }
    let mut object = object.clone();
    // Icon and status are shown in any case.
    for name in ["icon", "status"] {
        if object[name].is_null() {
            object[name] = if name == "icon" { json!({}) } else { json!({"icon": {}}) };
        }
    }
    let application = body.get("application").filter(|value| value.is_object()).cloned();
    Ok(RemoteLink { id, issue, global_id, application, relationship: text("relationship"), object })
}

fn by_global_id<'a>(view: View<'a>, issue: u64, id: &str) -> Option<&'a RemoteLink> {
    let mut rows = view.world.remote_links.list(view.at);
    rows.find(|row| row.issue == issue && row.global_id.as_deref() == Some(id))
}

fn by_id<'a>(view: View<'a>, issue: u64, id: &str) -> Option<&'a RemoteLink> {
    let row = view.world.remote_links.get(id.parse().ok()?, view.at)?;
    (row.issue == issue).then_some(row)
}

pub(crate) fn list(world: &World, call: &Call, issue: &str) -> Answer {
    let view = reading(world, call);
    let issue = view.issue(issue).ok_or_else(Problem::no_issue)?.id;
    let render = Render { view, call };
    if let Some(id) = call.param("globalId") {
        let row = by_global_id(view, issue, id).ok_or_else(missing)?;
        return Ok(Reply::ok(render.remote_link(row)));
    }
    let rows = world.remote_links.list(view.at).filter(|row| row.issue == issue);
    Ok(Reply::ok(rows.map(|row| render.remote_link(row)).collect()))
}

/// `POST`: replaces the link with the same `globalId`, if there is one.
pub(crate) fn create(world: &mut World, call: &Call, issue: &str) -> Answer {
    let issue = to_change(world, call, issue)?.id;
    let body = call.json()?;
    let described = described(&body, 0, issue)?;
    let same = described.global_id.as_deref();
    let same = same.and_then(|id| by_global_id(writing(world, call), issue, id)).map(|row| row.id);
    let id = same.unwrap_or_else(|| world.next_id());
    world.remote_links.put(id, RemoteLink { id, ..described }, call.now);
    touch(world, call, issue);
    let address = call.address(&format!("issue/{issue}/remotelink/{id}"));
    let status = if same.is_some() { 200 } else { 201 };
    Ok(Reply::json(status, &json!({"id": id, "self": address})))
}

pub(crate) fn read(world: &World, call: &Call, issue: &str, id: &str) -> Answer {
    let view = reading(world, call);
    let issue = view.issue(issue).ok_or_else(Problem::no_issue)?.id;
    let row = by_id(view, issue, id).ok_or_else(missing)?;
    Ok(Reply::ok(Render { view, call }.remote_link(row)))
}

pub(crate) fn edit(world: &mut World, call: &Call, issue: &str, id: &str) -> Answer {
    let issue = to_change(world, call, issue)?.id;
    let id = by_id(writing(world, call), issue, id).ok_or_else(missing)?.id;
    let row = described(&call.json()?, id, issue)?;
    world.remote_links.put(id, row, call.now);
    touch(world, call, issue);
    Ok(Reply::empty(204))
}

/// `DELETE …/remotelink/{id}`, and `DELETE …/remotelink?globalId=…` without an id.
pub(crate) fn delete(world: &mut World, call: &Call, issue: &str, id: Option<&str>) -> Answer {
    let issue = to_change(world, call, issue)?.id;
    let view = writing(world, call);
    let row = match (id, call.param("globalId")) {
        (Some(id), _) => by_id(view, issue, id),
        (None, Some(global)) => by_global_id(view, issue, global),
        (None, None) => return Err(Problem::message(400, "'globalId' is required.")),
    };
    let id = row.ok_or_else(missing)?.id;
    world.remote_links.remove(id, call.now);
    touch(world, call, issue);
    Ok(Reply::empty(204))
}
