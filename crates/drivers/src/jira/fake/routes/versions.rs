//! `/version` and the versions of a project.

use serde_json::{Value, json};

use super::projects::administrator;
use crate::jira::fake::call::{Answer, Call, Problem, Reply};
use crate::jira::fake::render::Render;
use crate::jira::fake::render_issue::{reading, writing};
use crate::jira::fake::rows::Version;
use crate::jira::fake::world::World;

fn missing(id: &str) -> Problem {
    Problem::message(404, &format!("Could not find version for id '{id}'"))
}

fn date(body: &Value, name: &str, old: Option<String>) -> Result<Option<String>, Problem> {
    match &body[name] {
        Value::Null => Ok(if body.get(name).is_some() { None } else { old }),
        Value::String(text) if text.is_empty() => Ok(None),
        Value::String(text) if text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok() => {
            Ok(Some(text.clone()))
        }
        other => {
            let text = format!("The date {other} is no date in the form yyyy-MM-dd.");
            Err(Problem::field(name, &text))
        }
    }
}

fn applied(world: &World, call: &Call, body: &Value, old: Version) -> Result<Version, Problem> {
    let description = match &body["description"] {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        _ => old.description,
    };
    let version = Version {
        name: body["name"].as_str().map_or(old.name, |name| name.trim().to_owned()),
        description,
        start_date: date(body, "startDate", old.start_date)?,
        release_date: date(body, "releaseDate", old.release_date)?,
        released: body["released"].as_bool().unwrap_or(old.released),
        archived: body["archived"].as_bool().unwrap_or(old.archived),
        ..old
    };
    if version.name.is_empty() {
        return Err(Problem::field("name", "You must specify a valid version name"));
    }
    if version.name.chars().count() > 255 {
        return Err(Problem::field(
            "name",
            "The version name must not exceed 255 characters in length.",
        ));
    }
    if let (Some(start), Some(release)) = (&version.start_date, &version.release_date)
        && start > release
    {
        let text = "The start date must be before the release date.";
        return Err(Problem::field("releaseDate", text));
    }
    let mut others = world.versions.list(call.now);
    let clashes = others.any(|other| {
        other.project == version.project
            && other.id != version.id
            && other.name.eq_ignore_ascii_case(&version.name)
    });
    if clashes {
        let text = "A version with this name already exists in this project.";
        return Err(Problem::field("name", text));
    }
    Ok(version)
}

fn stored(world: &mut World, call: &Call, version: Version, status: u16) -> Answer {
    let id = version.id;
    world.versions.put(id, version, call.now);
    let view = writing(world, call);
    let text = id.to_string();
    let version = view.version(&text).ok_or_else(|| missing(&text))?;
    Ok(Reply::json(status, &Render { view, call }.version(version)))
}

pub(crate) fn create(world: &mut World, call: &Call) -> Answer {
    administrator(world, call)?;
    let body = call.json()?;
    let name = match (&body["projectId"], &body["project"]) {
        (Value::Number(id), _) => id.to_string(),
        (Value::String(name), _) | (_, Value::String(name)) => name.clone(),
        _ => return Err(Problem::field("project", "Project must be specified")),
    };
    let project = writing(world, call).project(&name).ok_or_else(|| Problem::no_project(&name))?;
    let blank = Version {
        id: 0,
        project: project.id,
        name: String::new(),
        description: None,
        start_date: None,
        release_date: None,
        released: false,
        archived: false,
    };
    let version = applied(world, call, &body, blank)?;
    let id = world.next_id();
    stored(world, call, Version { id, ..version }, 201)
}

pub(crate) fn read(world: &World, call: &Call, id: &str) -> Answer {
    let view = reading(world, call);
    let version = view.version(id).ok_or_else(|| missing(id))?;
    Ok(Reply::ok(Render { view, call }.version(version)))
}

pub(crate) fn edit(world: &mut World, call: &Call, id: &str) -> Answer {
    administrator(world, call)?;
    let old = writing(world, call).version(id).ok_or_else(|| missing(id))?.clone();
    let version = applied(world, call, &call.json()?, old)?;
    stored(world, call, version, 200)
}

/// `POST /version/{id}/removeAndSwap`, with the replacements in the body, and `DELETE /version/{id}`, with them in the
/// query.
pub(crate) fn remove(world: &mut World, call: &Call, id: &str) -> Answer {
    administrator(world, call)?;
    let old = writing(world, call).version(id).ok_or_else(|| missing(id))?.clone();
    let body = if call.body.is_empty() { json!({}) } else { call.json()? };
    let named = |name: &str| match &body[name] {
        Value::Number(id) => Some(id.to_string()),
        Value::String(id) => Some(id.clone()),
        _ => call.param(name).map(str::to_owned),
    };
    let mut swaps = Vec::new();
    for (field, name) in [("fixVersions", "moveFixIssuesTo"), ("versions", "moveAffectedIssuesTo")]
    {
        let new = named(name);
        if let Some(new) = &new {
            let target = writing(world, call).version(new);
            if target.is_none_or(|target| target.project != old.project || target.id == old.id) {
                let text = format!("The version with id '{new}' does not exist.");
                return Err(Problem::field(name, &text));
            }
        }
        swaps.push((field, new));
    }
    let gone = old.id.to_string();
    for (field, new) in swaps {
        replace_in_issues(world, call, field, &gone, new.as_deref());
    }
    world.versions.remove(old.id, call.now);
    Ok(Reply::empty(204))
}

/// Replaces an id in a list field of all issues; `None` = takes it out.
pub(super) fn replace_in_issues(
    world: &mut World,
    call: &Call,
    field: &str,
    gone: &str,
    new: Option<&str>,
) {
    let holders: Vec<_> = world
        .issues
        .list(call.now)
        .filter(|issue| issue.list(field).any(|id| id == gone))
        .map(|issue| issue.id)
        .collect();
    for issue in holders {
        world.issues.change(issue, call.now, |issue| {
            let mut ids: Vec<_> =
                issue.list(field).filter(|id| *id != gone).map(str::to_owned).collect();
            ids.extend(new.filter(|new| !ids.iter().any(|id| id == new)).map(str::to_owned));
            issue.fields.insert(field.to_owned(), json!(ids));
            issue.updated = call.time;
        });
    }
}

fn of_project(world: &World, call: &Call, name: &str) -> Result<Vec<Value>, Problem> {
    let view = reading(world, call);
    let project = view.project(name).ok_or_else(|| Problem::no_project(name))?.id;
    let render = Render { view, call };
    let rows = world.versions.list(view.at).filter(|row| row.project == project);
    Ok(rows.map(|row| render.version(row)).collect())
}

/// `GET /project/{key}/versions`: a bare list.
pub(crate) fn list(world: &World, call: &Call, project: &str) -> Answer {
    Ok(Reply::ok(of_project(world, call, project)?.into()))
}

/// `GET /project/{key}/version`: a page.
pub(crate) fn page(world: &World, call: &Call, project: &str) -> Answer {
    let query = call.param("query").unwrap_or_default().to_lowercase();
    let mut rows = of_project(world, call, project)?;
    rows.retain(|row| row["name"].as_str().unwrap_or_default().to_lowercase().contains(&query));
    let mut page = call.page(rows, 50)?;
    page["self"] = json!(call.address(&format!("project/{project}/version")));
    Ok(Reply::ok(page))
}
