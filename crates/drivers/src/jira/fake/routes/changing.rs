//! What all writes to issues share.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::jira::fake::call::{Call, Problem};
use crate::jira::fake::render_issue::writing;
use crate::jira::fake::rows::Issue;
use crate::jira::fake::world::World;

/// The user of a write.
///
/// # Errors
/// 401 for an anonymous caller.
pub(crate) fn writer(call: &Call) -> Result<&str, Problem> {
    call.user.as_deref().ok_or_else(Problem::unauthorized)
}

/// The issue that a write names.
///
/// # Errors
/// 401, 404, and 400 for an archived issue.
pub(crate) fn to_change(world: &World, call: &Call, name: &str) -> Result<Issue, Problem> {
    writer(call)?;
    let issue = writing(world, call).issue(name).ok_or_else(Problem::no_issue)?;
    let project = world.projects.get(issue.project, call.now);
    if issue.archived || project.is_some_and(|project| project.archived) {
        return Err(Problem::message(
            400,
            "The issue is archived. Archived issues cannot be changed.",
        ));
    }
    Ok(issue.clone())
}

/// Marks an issue as updated now.
pub(crate) fn touch(world: &mut World, call: &Call, issue: u64) {
    world.issues.change(issue, call.now, |issue| issue.updated = call.time);
}

/// The entity properties of a body: `[{"key": …, "value": …}]`.
pub(crate) fn properties_of(body: &Value) -> BTreeMap<String, Value> {
    let properties = body["properties"].as_array().into_iter().flatten();
    properties
        .filter_map(|one| Some((one["key"].as_str()?.to_owned(), one["value"].clone())))
        .collect()
}

/// Stores an issue unless nothing changed.
pub(crate) fn store(world: &mut World, call: &Call, before: &Issue, mut after: Issue) {
    if *before != after {
        after.updated = call.time;
        world.issues.put(after.id, after, call.now);
    }
}
