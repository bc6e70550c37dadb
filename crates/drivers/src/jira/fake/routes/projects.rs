//! `/project` and `/task`.

use serde_json::{Value, json};

use super::changing::writer;
use crate::jira::fake::call::{Answer, Call, Problem, Reply};
use crate::jira::fake::render::Render;
use crate::jira::fake::render_issue::{reading, writing};
use crate::jira::fake::rows::{Project, Task};
use crate::jira::fake::site;
use crate::jira::fake::world::World;

/// Projects of a page at most.
const PAGE_MAX: usize = 100;

/// Checks that the caller administers the site.
///
/// # Errors
/// 401 for an anonymous caller and 403 for another user.
pub(super) fn administrator(world: &World, call: &Call) -> Result<(), Problem> {
    let user = writer(call)?;
    if world.user(user).is_some_and(|user| user.administers) {
        return Ok(());
    }
    Err(Problem::message(403, "You do not have permission to administer projects."))
}

fn found(world: &World, call: &Call, name: &str) -> Result<Project, Problem> {
    writing(world, call).project(name).cloned().ok_or_else(|| Problem::no_project(name))
}

fn is_key(key: &str) -> bool {
    let is_long_enough = (2..=10).contains(&key.len());
    let begins = key.starts_with(|first: char| first.is_ascii_uppercase());
    let goes_on = key.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    is_long_enough && begins && goes_on
}

/// Checks that no other project has the key or the name; one in the recycle bin has them still.
fn check_names(world: &World, call: &Call, project: &Project) -> Result<(), Problem> {
    let mut others = world.projects.list(call.now).filter(|other| other.id != project.id);
    if !is_key(&project.key) {
        let text = "Project keys must start with an uppercase letter, followed by one or more uppercase alphanumeric characters.";
        return Err(Problem::field("projectKey", text));
    }
    let clash = others.find_map(|other| {
        if other.key == project.key || other.former_keys.contains(&project.key) {
            let text = match other.deleted {
                Some(_) => format!("Project '{}' in the trash uses this project key.", other.name),
                None => format!("Project '{}' uses this project key.", other.name),
            };
            return Some(Problem::field("projectKey", &text));
        }
        let text = "A project with that name already exists.";
        other.name.eq_ignore_ascii_case(&project.name).then(|| Problem::field("projectName", text))
    });
    clash.map_or(Ok(()), Err)
}

/// Applies the members that a body names.
fn applied(
    world: &World,
    call: &Call,
    body: &Value,
    mut project: Project,
) -> Result<Project, Problem> {
    let text = |name: &str| body[name].as_str().map(str::to_owned);
    if let Some(key) = text("key").filter(|key| *key != project.key) {
        if !project.key.is_empty() {
            project.former_keys.push(std::mem::take(&mut project.key));
        }
        project.key = key;
    }
    project.name = text("name").unwrap_or(project.name);
    project.description = text("description").unwrap_or(project.description);
    if let Some(url) = text("url") {
        project.url = Some(url).filter(|url| !url.is_empty());
    }
    if let Some(kind) = text("assigneeType") {
        if !matches!(kind.as_str(), "PROJECT_LEAD" | "UNASSIGNED") {
            return Err(Problem::field("assigneeType", "Invalid assignee type."));
        }
        project.assignee_type = kind;
    }
    let lead = if call.is_cloud { text("leadAccountId") } else { text("lead") };
    if let Some(lead) = lead {
        let users = &world.users;
        let user = users
            .iter()
            .find(|user| user.account_id == lead || !call.is_cloud && user.name == lead);
        let Some(user) = user.filter(|user| user.active) else {
            return Err(Problem::field(
                "projectLead",
                "The user you specified does not exist or is inactive.",
            ));
        };
        project.lead.clone_from(&user.name);
    }
    if let Some(id) = body["categoryId"].as_i64() {
        let known = site::CATEGORIES.iter().find(|(known, _)| i64::try_from(*known) == Ok(id));
        if known.is_none() && id != -1 {
            return Err(Problem::field("categoryId", "The project category does not exist."));
        }
        project.category = known.map(|(id, _)| *id);
    }
    if project.name.trim().is_empty() {
        return Err(Problem::field("projectName", "You must specify a valid project name."));
    }
    if project.lead.is_empty() {
        return Err(Problem::field("projectLead", "You must specify a valid project lead."));
    }
    check_names(world, call, &project)?;
    Ok(project)
}

pub(crate) fn create(world: &mut World, call: &Call) -> Answer {
    administrator(world, call)?;
    let body = call.json()?;
    let type_key = body["projectTypeKey"].as_str();
    let template = body["projectTemplateKey"].as_str();
    if type_key.is_none() && template.is_none() {
        let text = "A project type or a project template must be specified.";
        return Err(Problem::message(400, text));
    }
    let blank = Project {
        id: 0,
        key: String::new(),
        former_keys: Vec::new(),
        name: String::new(),
        description: String::new(),
        type_key: type_key.unwrap_or("software").to_owned(),
        lead: String::new(),
        assignee_type: "UNASSIGNED".to_owned(),
        url: None,
        category: None,
        archived: false,
        deleted: None,
        properties: std::collections::BTreeMap::new(),
    };
    let project = applied(world, call, &body, blank)?;
    let id = world.next_id();
    let address = call.address(&format!("project/{id}"));
    let reply = json!({"self": address, "id": id, "key": project.key});
    world.projects.put(id, Project { id, ..project }, call.now);
    Ok(Reply::json(201, &reply))
}

pub(crate) fn read(world: &World, call: &Call, name: &str) -> Answer {
    let view = reading(world, call);
    let project = view.project(name).ok_or_else(|| Problem::no_project(name))?;
    let mut shown = Render { view, call }.project(project);
    let wanted = call.params("properties");
    if call.is_cloud {
        let properties = project.properties.iter();
        let wanted = properties.filter(|(key, _)| wanted.contains(&key.as_str()));
        for (key, value) in wanted {
            shown["properties"][key] = value.clone();
        }
    }
    Ok(Reply::ok(shown))
}

pub(crate) fn edit(world: &mut World, call: &Call, name: &str) -> Answer {
    administrator(world, call)?;
    let old = found(world, call, name)?;
    if old.archived {
        return Err(Problem::message(400, "The project is archived."));
    }
    let project = applied(world, call, &call.json()?, old)?;
    if !project.former_keys.is_empty() {
        let issues: Vec<_> =
            world.issues.list(call.now).filter(|row| row.project == project.id).collect();
        let keys: Vec<_> =
            issues.iter().map(|row| (format!("{}-{}", project.key, row.number), row.id)).collect();
        for (key, issue) in keys {
            world.record_key(key, issue);
        }
    }
    let id = project.id;
    world.projects.put(id, project, call.now);
    let view = writing(world, call);
    let project = view.project_by_id(id).ok_or_else(|| Problem::no_project(name))?;
    Ok(Reply::ok(Render { view, call }.project(project)))
}

/// `DELETE /project/{key}`: to the recycle bin unless `enableUndo=false`; Data Center has no bin.
pub(crate) fn delete(world: &mut World, call: &Call, name: &str) -> Answer {
    administrator(world, call)?;
    let bins = call.is_cloud && call.flag("enableUndo") != Some(false);
    let in_bin = |world: &World| {
        let mut rows = world.projects.list(call.now);
        rows.find(|row| row.deleted.is_some() && (row.key == name || row.id.to_string() == name))
            .cloned()
    };
    let project = match found(world, call, name) {
        // What is in the bin already can be deleted for good.
        Err(problem) => in_bin(world).filter(|_| !bins).ok_or(problem)?,
        Ok(project) => project,
    };
    if project.archived {
        return Err(Problem::message(
            400,
            "The project is archived. Restore it before you delete it.",
        ));
    }
    if bins {
        let deleted = Some(call.time);
        world.projects.put(project.id, Project { deleted, ..project }, call.now);
    } else {
        world.delete_project(project.id, call.now);
    }
    Ok(Reply::empty(204))
}

/// `POST /project/{key}/delete`: for good, by a task.
pub(crate) fn delete_later(world: &mut World, call: &Call, name: &str) -> Answer {
    administrator(world, call)?;
    let project = found(world, call, name)?;
    if project.archived {
        return Err(Problem::message(
            400,
            "The project is archived. Restore it before you delete it.",
        ));
    }
    let id = world.next_id();
    let task = Task { id, project: project.id, submitted: call.time, begun: call.now, done: None };
    let shown = task_shown(call, &task);
    world.record_task(task);
    let address = call.address(&format!("task/{id}"));
    Ok(Reply::json(303, &shown).with("location", address))
}

fn task_shown(call: &Call, task: &Task) -> Value {
    let elapsed = call.now.saturating_duration_since(task.begun);
    let elapsed = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    let submitted = task.submitted.as_millisecond();
    let (status, progress) = match task.done {
        None if elapsed < 100 => ("ENQUEUED", 0),
        None => ("RUNNING", 50),
        Some(true) => ("COMPLETE", 100),
        Some(false) => ("FAILED", 50),
    };
    let mut out = json!({
        "self": call.address(&format!("task/{}", task.id)), "id": task.id.to_string(),
        "description": "Delete project", "status": status, "progress": progress,
        "submittedBy": 10_000, "submitted": submitted, "started": submitted,
        "elapsedRuntime": elapsed, "lastUpdate": call.time.as_millisecond(),
    });
    if task.done.is_some() {
        out["finished"] = json!(call.time.as_millisecond());
        out["message"] = json!(if task.done == Some(true) { "" } else { "The deletion failed." });
    }
    out
}

pub(crate) fn task(world: &World, call: &Call, id: &str) -> Answer {
    writer(call)?;
    let task = id.parse().ok().and_then(|id: u64| world.tasks.get(&id));
    let task = task.ok_or_else(|| Problem::message(404, "The task was not found."))?;
    Ok(Reply::ok(task_shown(call, task)))
}

pub(crate) fn archive(world: &mut World, call: &Call, name: &str) -> Answer {
    administrator(world, call)?;
    let project = found(world, call, name)?;
    world.projects.put(project.id, Project { archived: true, ..project }, call.now);
    Ok(Reply::empty(204))
}

/// `POST /project/{key}/restore`: from the archive or from the recycle bin.
pub(crate) fn restore(world: &mut World, call: &Call, name: &str) -> Answer {
    administrator(world, call)?;
    let old = {
        let mut rows = world.projects.list(call.now);
        rows.find(|row| row.key == name || row.id.to_string() == name).cloned()
    };
    let old = old.ok_or_else(|| Problem::no_project(name))?;
    if !old.archived && old.deleted.is_none() {
        return Err(Problem::message(400, "The project is neither archived nor deleted."));
    }
    let id = old.id;
    world.projects.put(id, Project { archived: false, deleted: None, ..old }, call.now);
    let view = writing(world, call);
    let project = view.project_by_id(id).ok_or_else(|| Problem::no_project(name))?;
    Ok(Reply::ok(Render { view, call }.project(project)))
}

/// `GET /project`: a bare list.
pub(crate) fn list(world: &World, call: &Call) -> Reply {
    let view = reading(world, call);
    let render = Render { view, call };
    let projects = view.projects().filter(|project| !project.archived);
    Reply::ok(projects.map(|project| render.listed_project(project)).collect())
}

/// `GET /project/search`.
pub(crate) fn search(world: &World, call: &Call) -> Answer {
    let view = reading(world, call);
    let render = Render { view, call };
    let status = call.params("status");
    let wants = |name: &str| status.is_empty() && name == "live" || status.contains(&name);
    let query = call.param("query").unwrap_or_default().to_lowercase();
    let (ids, keys) = (call.params("id"), call.params("keys"));
    let rows = world.projects.list(view.at).filter(|project| {
        let name = if project.deleted.is_some() {
            "deleted"
        } else if project.archived {
            "archived"
        } else {
            "live"
        };
        let is_seen = call.user.is_some() && !world.control.hidden_projects.contains(&project.key);
        let id = project.id.to_string();
        let is_meant = (ids.is_empty() || ids.contains(&id.as_str()))
            && (keys.is_empty() || keys.contains(&project.key.as_str()))
            && (project.name.to_lowercase().contains(&query)
                || project.key.to_lowercase().contains(&query));
        is_seen && is_meant && wants(name)
    });
    let rows: Vec<_> = rows.map(|project| render.listed_project(project)).collect();
    let mut page = call.page(rows, PAGE_MAX)?;
    page["self"] = json!(call.address("project/search"));
    Ok(Reply::ok(page))
}

/// `GET /project/{key}/statuses`.
pub(crate) fn statuses(world: &World, call: &Call, name: &str) -> Answer {
    let view = reading(world, call);
    let render = Render { view, call };
    view.project(name).ok_or_else(|| Problem::no_project(name))?;
    let statuses: Vec<_> = site::STATUSES.iter().map(|status| render.status(status)).collect();
    let types = site::ISSUE_TYPES.iter().map(|kind| {
        let address = call.address(&format!("issuetype/{}", kind.id));
        json!({"self": address, "id": kind.id, "name": kind.name, "subtask": kind.subtask, "statuses": statuses})
    });
    Ok(Reply::ok(types.collect()))
}
