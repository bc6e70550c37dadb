//! From method and path to a resource.

use super::properties::Owner;
use super::{
    attachments, comments, components, issues, links, lists, people, projects, properties,
    remote_links, search, transitions, versions,
};
use crate::jira::fake::call::{Answer, Call, Problem, Reply};
use crate::jira::fake::world::World;

/// Answers a call.
pub(crate) fn route(world: &mut World, call: &Call) -> Reply {
    world.end_tasks(call.now);
    let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
    let answer = match segments.as_slice() {
        ["project", rest @ ..] => project(world, call, rest),
        ["issue", rest @ ..] => issue(world, call, rest),
        ["comment", rest @ ..] => comment(world, call, rest),
        ["version", rest @ ..] => version(world, call, rest),
        ["component", rest @ ..] => component(world, call, rest),
        ["issueLink", rest @ ..] => link(world, call, rest),
        ["attachment", rest @ ..] => attachment(world, call, rest),
        ["user", rest @ ..] => user(world, call, rest),
        _ => other(world, call, &segments),
    };
    answer.map_or_else(no_resource, |answer| answer.unwrap_or_else(Reply::from))
}

fn no_resource() -> Reply {
    let page = "<?xml version=\"1.0\"?><status><status-code>404</status-code><message>null for uri</message></status>";
    Reply::text(404, "application/xml;charset=UTF-8", page)
}

fn other(world: &mut World, call: &Call, segments: &[&str]) -> Option<Answer> {
    Some(match (call.method.as_str(), segments) {
        ("GET", ["myself"]) => people::myself(world, call),
        ("GET", ["serverInfo"]) => Ok(lists::server_info(call)),
        ("GET", ["mypermissions"]) => lists::my_permissions(world, call),
        ("GET", ["task", id]) => projects::task(world, call, id),
        ("GET" | "POST", ["search", "jql"]) if call.is_cloud => search::by_token(world, call),
        ("POST", ["search", "approximate-count"]) if call.is_cloud => search::count(world, call),
        ("GET" | "POST", ["search"]) => search::by_offset(world, call),
        ("GET", ["issueLinkType"]) => Ok(links::types(world, call)),
        ("GET", ["issuetype", "project"]) if call.is_cloud => lists::types_of_project(world, call),
        ("GET", [name @ ("priority" | "resolution" | "field"), "search"]) if call.is_cloud => {
            lists::paged_list(world, call, name)
        }
        ("GET", [name]) => return lists::list(world, call, name),
        _ => return None,
    })
}

fn project(world: &mut World, call: &Call, segments: &[&str]) -> Option<Answer> {
    Some(match (call.method.as_str(), segments) {
        ("POST", []) => projects::create(world, call),
        ("GET", []) => Ok(projects::list(world, call)),
        ("GET", ["search"]) if call.is_cloud => projects::search(world, call),
        ("GET", [name]) => projects::read(world, call, name),
        ("PUT", [name]) => projects::edit(world, call, name),
        ("DELETE", [name]) => projects::delete(world, call, name),
        ("POST", [name, "delete"]) if call.is_cloud => projects::delete_later(world, call, name),
        ("POST", [name, "archive"]) if call.is_cloud => projects::archive(world, call, name),
        ("PUT", [name, "archive"]) if !call.is_cloud => projects::archive(world, call, name),
        ("POST", [name, "restore"]) if call.is_cloud => projects::restore(world, call, name),
        ("PUT", [name, "restore"]) if !call.is_cloud => projects::restore(world, call, name),
        ("GET", [name, "statuses"]) => projects::statuses(world, call, name),
        ("GET", [name, "versions"]) => versions::list(world, call, name),
        ("GET", [name, "version"]) => versions::page(world, call, name),
        ("GET", [name, "components"]) => components::list(world, call, name),
        ("GET", [name, "component"]) if call.is_cloud => components::page(world, call, name),
        (_, [name, "properties", rest @ ..]) => {
            return entity_properties(world, call, Owner::Project(name), rest);
        }
        _ => return None,
    })
}

fn entity_properties(
    world: &mut World,
    call: &Call,
    owner: Owner<'_>,
    segments: &[&str],
) -> Option<Answer> {
    Some(match (call.method.as_str(), segments) {
        ("GET", []) => properties::keys(world, call, owner),
        ("GET", [key]) => properties::read(world, call, owner, key),
        ("PUT", [key]) => properties::set(world, call, owner, key),
        ("DELETE", [key]) => properties::delete(world, call, owner, key),
        _ => return None,
    })
}

fn issue(world: &mut World, call: &Call, segments: &[&str]) -> Option<Answer> {
    Some(match (call.method.as_str(), segments) {
        ("POST", []) => issues::create(world, call),
        ("POST", ["bulkfetch"]) if call.is_cloud => search::fetch(world, call),
        ("PUT", ["archive"]) if call.is_cloud => archive(world, call, true),
        ("PUT", ["unarchive"]) if call.is_cloud => archive(world, call, false),
        ("PUT", [name, "archive"]) if !call.is_cloud => {
            people::archive(world, call, &[name], true).map(|_| Reply::empty(204))
        }
        ("PUT", [name, "restore"]) if !call.is_cloud => {
            people::archive(world, call, &[name], false).map(|_| Reply::empty(204))
        }
        ("GET", ["createmeta", project, "issuetypes"]) => lists::create_types(world, call, project),
        ("GET", ["createmeta", project, "issuetypes", kind]) => {
            lists::create_fields(world, call, project, kind)
        }
        ("GET", [name]) => issues::read(world, call, name),
        ("PUT", [name]) => issues::edit(world, call, name),
        ("DELETE", [name]) => issues::delete(world, call, name),
        ("PUT", [name, "assignee"]) => issues::assign(world, call, name),
        ("GET", [name, "editmeta"]) => issues::edit_meta(world, call, name),
        ("GET", [name, "transitions"]) => transitions::list(world, call, name),
        ("POST", [name, "transitions"]) => transitions::perform(world, call, name),
        ("GET", [name, "watchers"]) => people::watchers(world, call, name),
        ("POST", [name, "watchers"]) => people::watch(world, call, name),
        ("DELETE", [name, "watchers"]) => people::unwatch(world, call, name),
        ("POST", [name, "attachments"]) => attachments::create(world, call, name),
        ("GET", [name, "comment"]) => comments::list(world, call, name),
        ("POST", [name, "comment"]) => comments::create(world, call, name),
        ("GET", [name, "comment", id]) => comments::read(world, call, name, id),
        ("PUT", [name, "comment", id]) => comments::edit(world, call, name, id),
        ("DELETE", [name, "comment", id]) => comments::delete(world, call, name, id),
        ("GET", [name, "remotelink"]) => remote_links::list(world, call, name),
        ("POST", [name, "remotelink"]) => remote_links::create(world, call, name),
        ("DELETE", [name, "remotelink"]) => remote_links::delete(world, call, name, None),
        ("GET", [name, "remotelink", id]) => remote_links::read(world, call, name, id),
        ("PUT", [name, "remotelink", id]) => remote_links::edit(world, call, name, id),
        ("DELETE", [name, "remotelink", id]) => remote_links::delete(world, call, name, Some(id)),
        (_, [name, "properties", rest @ ..]) => {
            return entity_properties(world, call, Owner::Issue(name), rest);
        }
        _ => return None,
    })
}

fn archive(world: &mut World, call: &Call, is_archived: bool) -> Answer {
    let body = call.json()?;
    let names = body["issueIdsOrKeys"].as_array().into_iter().flatten();
    let names: Vec<&str> = names.filter_map(serde_json::Value::as_str).collect();
    if names.len() > 1_000 {
        let text = "The number of issues to archive or unarchive exceeds the hard limit of 1000. Precondition failed.";
        return Err(Problem::message(412, text));
    }
    people::archive(world, call, &names, is_archived)
}

fn comment(world: &mut World, call: &Call, segments: &[&str]) -> Option<Answer> {
    Some(match (call.method.as_str(), segments) {
        ("POST", ["list"]) if call.is_cloud => comments::read_many(world, call),
        (_, [id, "properties", rest @ ..]) => {
            return entity_properties(world, call, Owner::Comment(id), rest);
        }
        _ => return None,
    })
}

fn version(world: &mut World, call: &Call, segments: &[&str]) -> Option<Answer> {
    Some(match (call.method.as_str(), segments) {
        ("POST", []) => versions::create(world, call),
        ("GET", [id]) => versions::read(world, call, id),
        ("PUT", [id]) => versions::edit(world, call, id),
        ("DELETE", [id]) | ("POST", [id, "removeAndSwap"]) => versions::remove(world, call, id),
        _ => return None,
    })
}

fn component(world: &mut World, call: &Call, segments: &[&str]) -> Option<Answer> {
    Some(match (call.method.as_str(), segments) {
        ("POST", []) => components::create(world, call),
        ("GET", [id]) => components::read(world, call, id),
        ("PUT", [id]) => components::edit(world, call, id),
        ("DELETE", [id]) => components::delete(world, call, id),
        _ => return None,
    })
}

fn link(world: &mut World, call: &Call, segments: &[&str]) -> Option<Answer> {
    Some(match (call.method.as_str(), segments) {
        ("POST", []) => links::create(world, call),
        ("GET", [id]) => links::read(world, call, id),
        ("DELETE", [id]) => links::delete(world, call, id),
        _ => return None,
    })
}

fn attachment(world: &mut World, call: &Call, segments: &[&str]) -> Option<Answer> {
    Some(match (call.method.as_str(), segments) {
        ("GET", ["meta"]) => Ok(attachments::settings(world)),
        ("GET", ["content", id]) if call.is_cloud => attachments::content(world, call, id),
        ("GET", [id]) => attachments::read(world, call, id),
        ("DELETE", [id]) => attachments::delete(world, call, id),
        _ => return None,
    })
}

fn user(world: &mut World, call: &Call, segments: &[&str]) -> Option<Answer> {
    Some(match (call.method.as_str(), segments) {
        ("GET", []) => people::read(world, call),
        ("GET", ["search"]) => people::search(world, call, false),
        ("GET", ["assignable", "search"]) => people::search(world, call, true),
        _ => return None,
    })
}
