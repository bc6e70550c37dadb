//! `/issue/{id}/transitions`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::changing::{store, to_change};
use super::comments;
use crate::jira::fake::call::{Answer, Call, Problem, Reply};
use crate::jira::fake::field_catalog;
use crate::jira::fake::field_changes::FieldChanges;
use crate::jira::fake::field_values::Target;
use crate::jira::fake::render::Render;
use crate::jira::fake::render_issue::{reading, writing};
use crate::jira::fake::site::{self, Transition};
use crate::jira::fake::world::World;

/// Characters of an explanation that the validator accepts.
const EXPLANATION_CHARACTERS: usize = 10;

pub(crate) fn list(world: &World, call: &Call, name: &str) -> Answer {
    let view = reading(world, call);
    let issue = view.issue(name).ok_or_else(Problem::no_issue)?;
    let render = Render { view, call };
    let with_fields = call.expands("transitions.fields");
    let wanted = call.param("transitionId");
    let known = site::transitions(issue.status).filter(|known| {
        wanted.is_none_or(|wanted| wanted == known.id) && call.user.is_some() && !issue.archived
    });
    let transitions: Vec<_> =
        known.map(|known| render.transition(known, issue, with_fields)).collect();
    Ok(Reply::ok(json!({"expand": "transitions", "transitions": transitions})))
}

pub(crate) fn perform(world: &mut World, call: &Call, name: &str) -> Answer {
    let issue = to_change(world, call, name)?;
    let body = call.json()?;
    let id = match &body["transition"]["id"] {
        Value::String(id) => id.clone(),
        Value::Number(id) => id.to_string(),
        _ => return Err(Problem::message(400, "Missing 'transition' identifier")),
    };
    let Some(known) = site::transition(&id, issue.status) else {
        let text = format!("Transition id '{id}' is not valid for this issue.");
        return Err(Problem::message(400, &text));
    };
    let target = Target { view: writing(world, call), call, project: issue.project };
    let on_screen = |id: &str| known.screen.iter().any(|(field, _)| *field == id);
    let changes = FieldChanges::of(target, &body, &issue.fields, &|def| on_screen(def.id))?;
    let mut moved = issue.clone();
    if site::status(known.to).is_some_and(|to| to.category.key != "done") {
        moved.fields.remove("resolution");
        moved.resolved = None;
    } else {
        moved.resolved = Some(call.time);
    }
    changes.apply(&mut moved.fields);
    validate(known, &moved.fields)?;
    comments::check(call, &changes.comments)?;
    moved.status = known.to;
    store(world, call, &issue, moved);
    for comment in &changes.comments {
        comments::add(world, call, issue.id, comment)?;
    }
    Ok(Reply::empty(204))
}

fn validate(known: &Transition, fields: &BTreeMap<String, Value>) -> Result<(), Problem> {
    let missing =
        known.screen.iter().filter(|(id, required)| *required && !fields.contains_key(*id));
    let errors: BTreeMap<_, _> = missing
        .filter_map(|(id, _)| field_catalog::field(id))
        .map(|def| (def.id.to_owned(), format!("{} is required.", def.name)))
        .collect();
    if let Some(problem) = Problem::fields(errors) {
        return Err(problem);
    }
    let Some(field) = known.explained_by else { return Ok(()) };
    let text = fields.get(field).and_then(Value::as_str).unwrap_or_default();
    if text.chars().count() < EXPLANATION_CHARACTERS {
        let text = "The root cause must be explained in at least 10 characters.";
        return Err(Problem::message(400, text));
    }
    Ok(())
}
