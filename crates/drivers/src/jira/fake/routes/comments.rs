//! `/issue/{id}/comment`.

use serde_json::{Value, json};

use super::changing::{properties_of, to_change, touch};
use crate::jira::fake::call::{Answer, Call, Problem, Reply};
use crate::jira::fake::render::Render;
use crate::jira::fake::render_issue::{reading, writing};
use crate::jira::fake::rich_text;
use crate::jira::fake::rows::Comment;
use crate::jira::fake::site;
use crate::jira::fake::world::World;

/// Comments of a page at most.
const PAGE_MAX: usize = 100;

fn missing(id: &str) -> Problem {
    Problem::message(404, &format!("Can not find a comment for the id: {id}."))
}

fn body_of(body: &Value, call: &Call) -> Result<Value, Problem> {
    let stored = rich_text::stored(&body["body"], call.api)
        .map_err(|message| Problem::field("comment", &message))?;
    if stored.is_null() || stored.is_object() && rich_text::plain(&stored).trim().is_empty() {
        return Err(Problem::field("comment", "Comment body can not be empty!"));
    }
    Ok(stored)
}

fn visibility_of(body: &Value) -> Result<Option<Value>, Problem> {
    let visibility = &body["visibility"];
    if visibility.is_null() {
        return Ok(None);
    }
    let kind = visibility["type"].as_str().unwrap_or_default();
    let name = visibility["value"].as_str().or_else(|| visibility["identifier"].as_str());
    let name = name.unwrap_or_default();
    let is_known = match kind {
        "role" => site::ROLES.iter().any(|(role, id)| *role == name || id.to_string() == name),
        "group" => !name.is_empty(),
        _ => false,
    };
    if !is_known {
        let text = format!("The {kind} '{name}' does not exist.");
        return Err(Problem::field("commentLevel", &text));
    }
    Ok(Some(json!({"type": kind, "value": name, "identifier": name})))
}

/// Checks comments that a request would add, before the request changes anything.
///
/// # Errors
/// As [`add`].
pub(super) fn check(call: &Call, bodies: &[Value]) -> Result<(), Problem> {
    bodies.iter().try_for_each(|body| {
        body_of(body, call)?;
        visibility_of(body).map(drop)
    })
}

/// Adds a comment; returns its id.
///
/// # Errors
/// 400 for a body or a visibility that JIRA refuses.
pub(super) fn add(
    world: &mut World,
    call: &Call,
    issue: u64,
    body: &Value,
) -> Result<u64, Problem> {
    let user = call.user.clone().ok_or_else(Problem::unauthorized)?;
    let (text, visibility) = (body_of(body, call)?, visibility_of(body)?);
    let id = world.next_id();
    let comment = Comment {
        id,
        issue,
        author: user.clone(),
        update_author: user,
        body: text,
        visibility,
        created: call.time,
        updated: call.time,
        properties: properties_of(body),
    };
    world.comments.put(id, comment, call.now);
    touch(world, call, issue);
    Ok(id)
}

pub(crate) fn create(world: &mut World, call: &Call, issue: &str) -> Answer {
    let issue = to_change(world, call, issue)?.id;
    let id = add(world, call, issue, &call.json()?)?;
    shown(world, call, issue, id, 201)
}

fn shown(world: &World, call: &Call, issue: u64, id: u64, status: u16) -> Answer {
    let view = writing(world, call);
    let comment = view.comment(issue, &id.to_string()).ok_or_else(|| missing(&id.to_string()))?;
    Ok(Reply::json(status, &Render { view, call }.comment(comment)))
}

pub(crate) fn list(world: &World, call: &Call, issue: &str) -> Answer {
    let view = reading(world, call);
    let issue = view.issue(issue).ok_or_else(Problem::no_issue)?;
    let render = Render { view, call };
    let mut comments: Vec<_> =
        view.comments(issue.id).map(|comment| render.comment(comment)).collect();
    if call.param("orderBy") == Some("-created") {
        comments.reverse();
    }
    let page = call.page(comments, PAGE_MAX)?;
    Ok(Reply::ok(json!({
        "startAt": page["startAt"], "maxResults": page["maxResults"], "total": page["total"],
        "comments": page["values"],
    })))
}

pub(crate) fn read(world: &World, call: &Call, issue: &str, id: &str) -> Answer {
    let view = reading(world, call);
    let issue = view.issue(issue).ok_or_else(Problem::no_issue)?;
    let comment = view.comment(issue.id, id).ok_or_else(|| missing(id))?;
    Ok(Reply::ok(Render { view, call }.comment(comment)))
}

/// `POST /comment/list`.
pub(crate) fn read_many(world: &World, call: &Call) -> Answer {
    let body = call.json()?;
    let ids = body["ids"].as_array().map(Vec::as_slice).unwrap_or_default();
    let view = reading(world, call);
    let render = Render { view, call };
    let found = ids.iter().filter_map(|id| {
        let comment = world.comments.get(id.as_u64()?, view.at)?;
        view.issue(&comment.issue.to_string()).map(|_| render.comment(comment))
    });
    Ok(Reply::ok(call.page(found.collect(), 1_000)?))
}

pub(crate) fn edit(world: &mut World, call: &Call, issue: &str, id: &str) -> Answer {
    let issue = to_change(world, call, issue)?.id;
    let old = writing(world, call).comment(issue, id).ok_or_else(|| missing(id))?.clone();
    let body = call.json()?;
    let (text, visibility) = (body_of(&body, call)?, visibility_of(&body)?);
    let mut properties = old.properties;
    properties.extend(properties_of(&body));
    let user = call.user.clone().unwrap_or_default();
    let comment = Comment {
        body: text,
        // JIRA keeps a restriction that the request does not name.
        visibility: if body.get("visibility").is_some() { visibility } else { old.visibility },
        update_author: user,
        updated: call.time,
        properties,
        ..old
    };
    let id = comment.id;
    world.comments.put(id, comment, call.now);
    touch(world, call, issue);
    shown(world, call, issue, id, 200)
}

pub(crate) fn delete(world: &mut World, call: &Call, issue: &str, id: &str) -> Answer {
    let issue = to_change(world, call, issue)?.id;
    let comment = writing(world, call).comment(issue, id).ok_or_else(|| missing(id))?.id;
    world.comments.remove(comment, call.now);
    touch(world, call, issue);
    Ok(Reply::empty(204))
}
