//! What a site is configured with: server, priorities, issue types, fields, metadata for new issues.

use serde_json::{Value, json};

use super::changing::writer;
use crate::jira::fake::call::{Answer, Call, Problem, Reply};
use crate::jira::fake::field_catalog::FIELDS;
use crate::jira::fake::render::Render;
use crate::jira::fake::render_issue::{is_on_screen, is_required, reading};
use crate::jira::fake::site;
use crate::jira::fake::world::World;

/// Most fields or types of a page.
const PAGE_MAX: usize = 200;

pub(crate) fn server_info(call: &Call) -> Reply {
    let (version, numbers, kind, build) = if call.is_cloud {
        ("1001.0.0-SNAPSHOT", [1001, 0, 0], "Cloud", 100_290)
    } else {
        ("9.12.4", [9, 12, 4], "Server", 9_120_004)
    };
    let mut out = json!({
        "baseUrl": call.base, "version": version, "versionNumbers": numbers, "deploymentType": kind,
        "buildNumber": build, "buildDate": call.moment(jiff::Timestamp::UNIX_EPOCH),
        "serverTime": call.moment(call.time), "scmInfo": "fake", "serverTitle": "Fake JIRA",
    });
    if call.is_cloud {
        out["displayUrl"] = json!(call.base);
        out["serverTimeZone"] = json!(format!("Etc/GMT-{}", call.utc_offset_hours));
    }
    Reply::ok(out)
}

/// The lists that need no more than their name; `None` for another name.
pub(crate) fn list(world: &World, call: &Call, name: &str) -> Option<Answer> {
    let render = Render { view: reading(world, call), call };
    let items: Vec<Value> = match name {
        "priority" => site::PRIORITIES.iter().map(|(id, _)| render.priority(id)).collect(),
        "resolution" => site::RESOLUTIONS.iter().map(|(id, _)| render.resolution(id)).collect(),
        "issuetype" => site::ISSUE_TYPES.iter().map(|kind| render.issue_type(kind)).collect(),
        "status" => site::STATUSES.iter().map(|status| render.status(status)).collect(),
        "field" => fields(),
        "projectCategory" => categories(call),
        _ => return None,
    };
    Some(writer(call).map(|_| Reply::ok(items.into())))
}

fn categories(call: &Call) -> Vec<Value> {
    let categories = site::CATEGORIES.iter().map(|(id, name)| {
        let address = call.address(&format!("projectCategory/{id}"));
        json!({"self": address, "id": id.to_string(), "name": name, "description": ""})
    });
    categories.collect()
}

fn fields() -> Vec<Value> {
    let custom = |id: &str| id.starts_with("customfield_");
    let known = FIELDS.iter().map(|def| {
        let clause = if custom(def.id) { json!([format!("cf[{}]", def.number()), def.name]) } else { json!([def.id.to_lowercase()]) };
        json!({
            "id": def.id, "key": def.id, "name": def.name, "custom": custom(def.id), "orderable": true,
            "navigable": true, "searchable": true, "clauseNames": clause, "schema": def.schema(),
        })
    });
    let others = [
        ("status", "Status", "status"),
        ("created", "Created", "datetime"),
        ("updated", "Updated", "datetime"),
        ("creator", "Creator", "user"),
        ("issuelinks", "Linked Issues", "array"),
        ("attachment", "Attachment", "array"),
        ("comment", "Comment", "comments-page"),
        ("subtasks", "Sub-tasks", "array"),
    ];
    let others = others.into_iter().map(|(id, name, kind)| {
        json!({
            "id": id, "key": id, "name": name, "custom": false, "orderable": false, "navigable": true,
            "searchable": true, "clauseNames": [id], "schema": {"type": kind, "system": id},
        })
    });
    known.chain(others).collect()
}

/// `/{name}/search`: a page of priorities or resolutions.
pub(crate) fn paged_list(world: &World, call: &Call, name: &str) -> Answer {
    writer(call)?;
    let render = Render { view: reading(world, call), call };
    let mut items: Vec<Value> = match name {
        "priority" => site::PRIORITIES.iter().map(|(id, _)| render.priority(id)).collect(),
        "resolution" => site::RESOLUTIONS.iter().map(|(id, _)| render.resolution(id)).collect(),
        _ => fields(),
    };
    for item in &mut items {
        let is_default = item["id"] == site::DEFAULT_PRIORITY && name == "priority";
        match name {
            "field" => {
                let kept = ["id", "key", "name", "schema"];
                if let Some(item) = item.as_object_mut() {
                    item.retain(|key, _| kept.contains(&key.as_str()));
                }
            }
            "priority" => item["isDefault"] = json!(is_default),
            _ => item["default"] = json!(false),
        }
    }
    let ids = call.params("id");
    items.retain(|item| ids.is_empty() || ids.iter().any(|id| item["id"] == *id));
    if let Some(query) = call.param("query") {
        let query = query.to_lowercase();
        items.retain(|item| {
            item["name"].as_str().unwrap_or_default().to_lowercase().contains(&query)
        });
    }
    let mut page = call.page(items, 1_000)?;
    page["self"] = json!(call.address(&format!("{name}/search")));
    Ok(Reply::ok(page))
}

/// `GET /issuetype/project`.
pub(crate) fn types_of_project(world: &World, call: &Call) -> Answer {
    let name = call.param("projectId").unwrap_or_default();
    reading(world, call).project(name).ok_or_else(|| Problem::no_project(name))?;
    list(world, call, "issuetype").unwrap_or_else(|| Ok(Reply::ok(json!([]))))
}

/// A page of metadata: `name` holds the items in Cloud, `values` in Data Center.
fn meta_page(call: &Call, name: &str, items: Vec<Value>) -> Answer {
    if call.number("maxResults", 50)? > PAGE_MAX {
        let text = "Parameter 'maxResults' must not exceed the limit '200'";
        return Err(Problem::message(400, text));
    }
    let mut page = call.page(items, PAGE_MAX)?;
    if call.is_cloud
        && let Some(page) = page.as_object_mut()
    {
        let values = page.remove("values").unwrap_or_default();
        page.insert(name.to_owned(), values);
        page.remove("isLast");
    }
    Ok(Reply::ok(page))
}

/// `GET /issue/createmeta/{project}/issuetypes`.
pub(crate) fn create_types(world: &World, call: &Call, project: &str) -> Answer {
    writer(call)?;
    let view = reading(world, call);
    view.project(project).ok_or_else(|| Problem::no_project(project))?;
    let render = Render { view, call };
    let types = site::ISSUE_TYPES.iter().map(|kind| render.issue_type(kind)).collect();
    meta_page(call, "issueTypes", types)
}

/// `GET /issue/createmeta/{project}/issuetypes/{type}`.
pub(crate) fn create_fields(world: &World, call: &Call, project: &str, kind: &str) -> Answer {
    writer(call)?;
    let view = reading(world, call);
    let project = view.project(project).ok_or_else(|| Problem::no_project(project))?.id;
    let Some(kind) = site::issue_type(kind) else {
        return Err(Problem::message(400, "The issue type is not valid for this project."));
    };
    let render = Render { view, call };
    let shown = FIELDS.iter().filter(|def| is_on_screen(world, def));
    let shown = shown.map(|def| {
        let mut meta = render.field_meta(def, project, is_required(def, kind));
        meta["fieldId"] = json!(def.id);
        if !call.is_cloud
            && let Some(meta) = meta.as_object_mut()
        {
            meta.remove("key");
        }
        meta
    });
    meta_page(call, "fields", shown.collect())
}

/// `GET /mypermissions`.
pub(crate) fn my_permissions(world: &World, call: &Call) -> Answer {
    let user = call.user.as_deref().and_then(|name| world.user(name));
    let names = call.params("permissions");
    if names.is_empty() {
        let text = "The 'permissions' query parameter is required.";
        return Err(Problem::message(400, text));
    }
    let permissions = names.iter().enumerate().map(|(at, name)| {
        let is_global = name.starts_with("ADMINISTER");
        let has = user.is_some_and(|user| user.administers || !is_global);
        let kind = if *name == "ADMINISTER" { "GLOBAL" } else { "PROJECT" };
        let one = json!({
            "id": at.to_string(), "key": name, "name": name, "type": kind, "description": "", "havePermission": has,
        });
        ((*name).to_owned(), one)
    });
    let permissions: serde_json::Map<_, _> = permissions.collect();
    Ok(Reply::ok(json!({"permissions": permissions})))
}
