//! `/component` and the components of a project.

use serde_json::{Value, json};

use super::projects::administrator;
use super::versions::replace_in_issues;
use crate::jira::fake::call::{Answer, Call, Problem, Reply};
use crate::jira::fake::render::Render;
use crate::jira::fake::render_issue::{reading, writing};
use crate::jira::fake::rows::Component;
use crate::jira::fake::world::World;

const ASSIGNEE_TYPES: &[&str] =
    &["PROJECT_DEFAULT", "COMPONENT_LEAD", "PROJECT_LEAD", "UNASSIGNED"];

fn missing(id: &str) -> Problem {
    Problem::message(404, &format!("The component with id {id} does not exist."))
}

fn applied(world: &World, call: &Call, body: &Value, old: Component) -> Result<Component, Problem> {
    let named = if call.is_cloud { "leadAccountId" } else { "leadUserName" };
    let lead = match &body[named] {
        Value::Null if body.get(named).is_none() => old.lead,
        Value::String(name) if !name.is_empty() => {
            let user = world.users.iter().find(|user| {
                if call.is_cloud { user.account_id == *name } else { user.name == *name }
            });
            let user = user.filter(|user| user.active).ok_or_else(|| {
                Problem::field(named, "The component lead does not exist or is inactive.")
            })?;
            Some(user.name.clone())
        }
        _ => None,
    };
    let assignee_type = body["assigneeType"].as_str().map_or(old.assignee_type, str::to_owned);
    if !ASSIGNEE_TYPES.contains(&assignee_type.as_str()) {
        return Err(Problem::field("assigneeType", "Invalid assignee type."));
    }
    let description = match &body["description"] {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        _ => old.description,
    };
    let name = body["name"].as_str().map_or(old.name, |name| name.trim().to_owned());
    let component = Component { name, description, lead, assignee_type, ..old };
    if component.name.is_empty() {
        return Err(Problem::field("name", "The component name specified is not valid."));
    }
    let mut others = world.components.list(call.now);
    let clashes = others.any(|other| {
        other.project == component.project
            && other.id != component.id
            && other.name.eq_ignore_ascii_case(&component.name)
    });
    if clashes {
        let name = &component.name;
        let text = format!("A component with the name {name} already exists in this project.");
        return Err(Problem::field("name", &text));
    }
    Ok(component)
}

fn stored(world: &mut World, call: &Call, component: Component, status: u16) -> Answer {
    let id = component.id;
    world.components.put(id, component, call.now);
    let view = writing(world, call);
    let text = id.to_string();
    let component = view.component(&text).ok_or_else(|| missing(&text))?;
    Ok(Reply::json(status, &Render { view, call }.component(component)))
}

pub(crate) fn create(world: &mut World, call: &Call) -> Answer {
    administrator(world, call)?;
    let body = call.json()?;
    let name = body["project"].as_str().unwrap_or_default();
    let project = writing(world, call).project(name).ok_or_else(|| Problem::no_project(name))?;
    let blank = Component {
        id: 0,
        project: project.id,
        name: String::new(),
        description: None,
        lead: None,
        assignee_type: "PROJECT_DEFAULT".to_owned(),
    };
    let component = applied(world, call, &body, blank)?;
    let id = world.next_id();
    stored(world, call, Component { id, ..component }, 201)
}

pub(crate) fn read(world: &World, call: &Call, id: &str) -> Answer {
    let view = reading(world, call);
    let component = view.component(id).ok_or_else(|| missing(id))?;
    Ok(Reply::ok(Render { view, call }.component(component)))
}

pub(crate) fn edit(world: &mut World, call: &Call, id: &str) -> Answer {
    administrator(world, call)?;
    let old = writing(world, call).component(id).ok_or_else(|| missing(id))?.clone();
    let component = applied(world, call, &call.json()?, old)?;
    stored(world, call, component, 200)
}

pub(crate) fn delete(world: &mut World, call: &Call, id: &str) -> Answer {
    administrator(world, call)?;
    let old = writing(world, call).component(id).ok_or_else(|| missing(id))?.clone();
    let new = call.param("moveIssuesTo");
    if let Some(new) = new
        && writing(world, call).component(new).is_none_or(|new| new.project != old.project)
    {
        return Err(missing(new));
    }
    replace_in_issues(world, call, "components", &old.id.to_string(), new);
    world.components.remove(old.id, call.now);
    Ok(Reply::empty(204))
}

fn of_project(world: &World, call: &Call, name: &str) -> Result<Vec<Value>, Problem> {
    let view = reading(world, call);
    let project = view.project(name).ok_or_else(|| Problem::no_project(name))?.id;
    let render = Render { view, call };
    let rows = world.components.list(view.at).filter(|row| row.project == project);
    Ok(rows.map(|row| render.component(row)).collect())
}

/// `GET /project/{key}/components`: a bare list.
pub(crate) fn list(world: &World, call: &Call, project: &str) -> Answer {
    Ok(Reply::ok(of_project(world, call, project)?.into()))
}

/// `GET /project/{key}/component`: a page, with the number of issues of each.
pub(crate) fn page(world: &World, call: &Call, project: &str) -> Answer {
    let mut rows = of_project(world, call, project)?;
    let view = reading(world, call);
    for row in &mut rows {
        let id = row["id"].as_str().unwrap_or_default().to_owned();
        let issues =
            view.issues().filter(|issue| issue.list("components").any(|known| known == id));
        row["issueCount"] = json!(issues.count());
    }
    let mut page = call.page(rows, 50)?;
    page["self"] = json!(call.address(&format!("project/{project}/component")));
    Ok(Reply::ok(page))
}
