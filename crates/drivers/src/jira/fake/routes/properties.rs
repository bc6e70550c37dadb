//! Entity properties of projects, issues and comments.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::changing::{to_change, writer};
use super::projects::administrator;
use crate::jira::fake::call::{Answer, Call, Problem, Reply};
use crate::jira::fake::render_issue::{reading, writing};
use crate::jira::fake::world::{View, World};

/// Bytes of a value at most.
const VALUE_BYTES_MAX: usize = 32_768;

/// What has the properties.
#[derive(Clone, Copy)]
pub(crate) enum Owner<'a> {
    Project(&'a str),
    Issue(&'a str),
    Comment(&'a str),
}

impl Owner<'_> {
    fn properties<'w>(
        &self,
        view: View<'w>,
    ) -> Result<(u64, &'w BTreeMap<String, Value>), Problem> {
        match self {
            Self::Project(name) => view
                .project(name)
                .map(|row| (row.id, &row.properties))
                .ok_or_else(|| Problem::no_project(name)),
            Self::Issue(name) => {
                view.issue(name).map(|row| (row.id, &row.properties)).ok_or_else(Problem::no_issue)
            }
            Self::Comment(id) => {
                let missing = || Problem::message(404, "The comment was not found.");
                let row = id.parse().ok().and_then(|id| view.world.comments.get(id, view.at));
                let row = row.filter(|row| view.issue(&row.issue.to_string()).is_some());
                row.map(|row| (row.id, &row.properties)).ok_or_else(missing)
            }
        }
    }

    fn path(&self) -> String {
        match self {
            Self::Project(name) => format!("project/{name}"),
            Self::Issue(name) => format!("issue/{name}"),
            Self::Comment(id) => format!("comment/{id}"),
        }
    }

    /// Checks that the caller may write; returns the id of the owner.
    fn writable(&self, world: &World, call: &Call) -> Result<u64, Problem> {
        writer(call)?;
        match self {
            Self::Project(_) => administrator(world, call)?,
            Self::Issue(name) => drop(to_change(world, call, name)?),
            Self::Comment(_) => (),
        }
        self.properties(writing(world, call)).map(|(id, _)| id)
    }

    fn write(
        &self,
        world: &mut World,
        call: &Call,
        id: u64,
        change: impl FnOnce(&mut BTreeMap<String, Value>),
    ) {
        match self {
            Self::Project(_) => {
                world.projects.change(id, call.now, |row| change(&mut row.properties))
            }
            Self::Issue(_) => world.issues.change(id, call.now, |row| change(&mut row.properties)),
            Self::Comment(_) => {
                world.comments.change(id, call.now, |row| change(&mut row.properties))
            }
        };
    }
}

fn missing(key: &str) -> Problem {
    Problem::message(404, &format!("The property {key} does not exist."))
}

pub(crate) fn keys(world: &World, call: &Call, owner: Owner<'_>) -> Answer {
    let (_, properties) = owner.properties(reading(world, call))?;
    let keys: Vec<_> = properties
        .keys()
        .map(|key| {
            let address = call.address(&format!("{}/properties/{key}", owner.path()));
            json!({"self": address, "key": key})
        })
        .collect();
    Ok(Reply::ok(json!({"keys": keys})))
}

pub(crate) fn read(world: &World, call: &Call, owner: Owner<'_>, key: &str) -> Answer {
    let (_, properties) = owner.properties(reading(world, call))?;
    let value = properties.get(key).ok_or_else(|| missing(key))?;
    Ok(Reply::ok(json!({"key": key, "value": value})))
}

pub(crate) fn set(world: &mut World, call: &Call, owner: Owner<'_>, key: &str) -> Answer {
    let id = owner.writable(world, call)?;
    let value = call.json()?;
    if key.len() > 255 || call.body.len() > VALUE_BYTES_MAX {
        return Err(Problem::message(400, "The property's key or value is too long."));
    }
    let existed = owner.properties(writing(world, call))?.1.contains_key(key);
    owner.write(world, call, id, |properties| {
        properties.insert(key.to_owned(), value);
    });
    Ok(Reply::json(if existed { 200 } else { 201 }, &json!({})))
}

pub(crate) fn delete(world: &mut World, call: &Call, owner: Owner<'_>, key: &str) -> Answer {
    let id = owner.writable(world, call)?;
    if !owner.properties(writing(world, call))?.1.contains_key(key) {
        return Err(missing(key));
    }
    owner.write(world, call, id, |properties| {
        properties.remove(key);
    });
    Ok(Reply::empty(204))
}
