//! `/issueLink` and `/issueLinkType`.

use serde_json::{Value, json};

use super::changing::{to_change, touch, writer};
use super::comments;
use crate::jira::fake::call::{Answer, Call, Problem, Reply};
use crate::jira::fake::render::Render;
use crate::jira::fake::render_issue::{reading, writing};
use crate::jira::fake::rows::Link;
use crate::jira::fake::site;
use crate::jira::fake::world::World;

fn missing(id: &str) -> Problem {
    Problem::message(404, &format!("No issue link with id '{id}' exists."))
}

fn end(world: &World, call: &Call, named: &Value, other: Option<u64>) -> Result<u64, Problem> {
    let name = named["id"].as_str().or_else(|| named["key"].as_str());
    match (name, other) {
        (Some(name), _) => to_change(world, call, name).map(|issue| issue.id),
        (None, Some(issue)) => Ok(issue),
        (None, None) => Err(Problem::no_issue()),
    }
}

/// Adds a link unless it exists; `issue` is the end that the body leaves out.
///
/// # Errors
/// 404 for an unknown type or issue, and 400 for a link of an issue to itself.
pub(super) fn add(
    world: &mut World,
    call: &Call,
    issue: Option<u64>,
    body: &Value,
) -> Result<(), Problem> {
    let named = &body["type"];
    let kind = site::LINK_TYPES.iter().find(|kind| match named["id"].as_str() {
        Some(id) => kind.id == id,
        None => named["name"].as_str().is_some_and(|name| kind.name.eq_ignore_ascii_case(name)),
    });
    let Some(kind) = kind else {
        let name = named["name"].as_str().unwrap_or_default();
        let text = format!("No issue link type with name '{name}' found.");
        return Err(Problem::message(404, &text));
    };
    let source = end(world, call, &body["inwardIssue"], issue)?;
    let target = end(world, call, &body["outwardIssue"], issue)?;
    if source == target {
        return Err(Problem::message(400, "You cannot link an issue to itself."));
    }
    // A repetition is reported as created, but makes no second link.
    let exists = world
        .links
        .list(call.now)
        .any(|link| link.kind == kind.id && link.source == source && link.target == target);
    if !exists {
        let id = world.next_id();
        world.links.put(id, Link { id, kind: kind.id, source, target }, call.now);
        touch(world, call, source);
        touch(world, call, target);
    }
    if body["comment"].is_object() {
        comments::add(world, call, source, &body["comment"])?;
    }
    Ok(())
}

pub(crate) fn create(world: &mut World, call: &Call) -> Answer {
    writer(call)?;
    add(world, call, None, &call.json()?)?;
    Ok(Reply::empty(201))
}

pub(crate) fn read(world: &World, call: &Call, id: &str) -> Answer {
    let view = reading(world, call);
    let link = id.parse().ok().and_then(|id| world.links.get(id, view.at));
    let link = link.ok_or_else(|| missing(id))?;
    let shown = Render { view, call }.link(link, None);
    // Who cannot see both ends sees no link.
    if shown["inwardIssue"].is_null() || shown["outwardIssue"].is_null() {
        return Err(missing(id));
    }
    Ok(Reply::ok(shown))
}

pub(crate) fn delete(world: &mut World, call: &Call, id: &str) -> Answer {
    writer(call)?;
    let view = writing(world, call);
    let link = id.parse().ok().and_then(|id| world.links.get(id, view.at));
    let link = link.ok_or_else(|| missing(id))?.clone();
    for end in [link.source, link.target] {
        to_change(world, call, &end.to_string())?;
    }
    world.links.remove(link.id, call.now);
    touch(world, call, link.source);
    touch(world, call, link.target);
    Ok(Reply::empty(204))
}

pub(crate) fn types(world: &World, call: &Call) -> Reply {
    let render = Render { view: reading(world, call), call };
    let types: Vec<_> = site::LINK_TYPES.iter().map(|kind| render.link_type(kind)).collect();
    Reply::ok(json!({"issueLinkTypes": types}))
}
