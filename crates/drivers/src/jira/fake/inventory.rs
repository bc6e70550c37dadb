//! What exists on a site, for tests to compare.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;
use serde_json::{Value, json};

use super::rich_text;
use super::site;
use super::world::World;

/// A project.
#[derive(Clone, Debug, Serialize)]
pub struct ProjectEntry {
    /// Its id.
    pub id: u64,
    /// Its key.
    pub key: String,
    /// Its name.
    pub name: String,
    /// Whether it is archived.
    pub archived: bool,
    /// Whether it is in the recycle bin.
    pub in_bin: bool,
    /// Its entity properties.
    pub properties: BTreeMap<String, Value>,
}

/// An issue.
#[derive(Clone, Debug, Serialize)]
pub struct IssueEntry {
    /// Its id.
    pub id: u64,
    /// Its key.
    pub key: String,
    /// Name of its type.
    pub issue_type: String,
    /// Its summary.
    pub summary: String,
    /// Name of its status.
    pub status: String,
    /// Its labels.
    pub labels: Vec<String>,
    /// User who created it.
    pub creator: String,
    /// Whether it is archived.
    pub archived: bool,
    /// Its entity properties.
    pub properties: BTreeMap<String, Value>,
}

/// An object that hangs on an issue or a project.
#[derive(Clone, Debug, Serialize)]
pub struct OtherEntry {
    /// Its id.
    pub id: u64,
    /// Id of the issue or project.
    pub of: u64,
    /// Text of a comment, name of a version, component or file, type and target of a link, global id of a remote link.
    pub name: String,
    /// Entity properties of a comment; empty for the others.
    pub properties: BTreeMap<String, Value>,
}

/// All objects of a site, without any lag; hidden ones, too.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Inventory {
    /// Projects, also those in the recycle bin.
    pub projects: Vec<ProjectEntry>,
    /// Issues.
    pub issues: Vec<IssueEntry>,
    /// Comments.
    pub comments: Vec<OtherEntry>,
    /// Versions.
    pub versions: Vec<OtherEntry>,
    /// Components.
    pub components: Vec<OtherEntry>,
    /// Links, each at the issue that shows the outward description.
    pub issue_links: Vec<OtherEntry>,
    /// Remote links.
    pub remote_links: Vec<OtherEntry>,
    /// Attachments.
    pub attachments: Vec<OtherEntry>,
    /// Ids of the issues by their labels.
    pub by_label: BTreeMap<String, Vec<u64>>,
}

impl Inventory {
    /// Number of objects of all kinds; projects in the recycle bin do not count.
    #[must_use]
    pub fn count(&self) -> usize {
        let others = [
            &self.comments,
            &self.versions,
            &self.components,
            &self.issue_links,
            &self.remote_links,
            &self.attachments,
        ];
        let projects = self.projects.iter().filter(|project| !project.in_bin).count();
        projects + self.issues.len() + others.iter().map(|list| list.len()).sum::<usize>()
    }

    pub(crate) fn of(world: &World, now: Instant) -> Self {
        let plain = |id: u64, of: u64, name: String| OtherEntry {
            id,
            of,
            name,
            properties: BTreeMap::new(),
        };
        let mut inventory =
            Self { projects: projects(world, now), issues: issues(world, now), ..Self::default() };
        for issue in &inventory.issues {
            for label in &issue.labels {
                inventory.by_label.entry(label.clone()).or_default().push(issue.id);
            }
        }
        let text = |body: &Value| rich_text::shown(body, 2).as_str().unwrap_or_default().to_owned();
        inventory.comments = world
            .comments
            .list(now)
            .map(|row| OtherEntry {
                properties: row.properties.clone(),
                ..plain(row.id, row.issue, text(&row.body))
            })
            .collect();
        let versions = world.versions.list(now);
        inventory.versions =
            versions.map(|row| plain(row.id, row.project, row.name.clone())).collect();
        let components = world.components.list(now);
        inventory.components =
            components.map(|row| plain(row.id, row.project, row.name.clone())).collect();
        let links = world.links.list(now);
        inventory.issue_links = links
            .map(|row| {
                let kind = site::LINK_TYPES.iter().find(|kind| kind.id == row.kind);
                let name = kind.map_or("", |kind| kind.name);
                plain(row.id, row.source, format!("{name} {}", row.target))
            })
            .collect();
        let links = world.remote_links.list(now);
        inventory.remote_links = links
            .map(|row| plain(row.id, row.issue, row.global_id.clone().unwrap_or_default()))
            .collect();
        let files = world.attachments.list(now);
        inventory.attachments =
            files.map(|row| plain(row.id, row.issue, row.filename.clone())).collect();
        inventory
    }
}

fn projects(world: &World, now: Instant) -> Vec<ProjectEntry> {
    let rows = world.projects.list(now);
    rows.map(|row| ProjectEntry {
        id: row.id,
        key: row.key.clone(),
        name: row.name.clone(),
        archived: row.archived,
        in_bin: row.deleted.is_some(),
        properties: row.properties.clone(),
    })
    .collect()
}

fn issues(world: &World, now: Instant) -> Vec<IssueEntry> {
    let view = world.view(now, false);
    let rows = world.issues.list(now);
    rows.map(|row| IssueEntry {
        id: row.id,
        key: view.key(row),
        issue_type: site::issue_type(row.text("issuetype")).map_or("", |kind| kind.name).to_owned(),
        summary: row.text("summary").to_owned(),
        status: site::status(row.status).map_or("", |status| status.name).to_owned(),
        labels: row.list("labels").map(str::to_owned).collect(),
        creator: row.creator.clone(),
        archived: row.archived,
        properties: row.properties.clone(),
    })
    .collect()
}

/// A user of the site and how to log in as one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Name of the user in Data Center.
    pub name: String,
    /// E-mail address, by which Cloud's Basic authentication names the user.
    pub email: String,
    /// Id of the account in Cloud.
    pub account_id: String,
    /// API token of Cloud, personal access token of Data Center.
    pub token: String,
}

/// The users of a site.
pub(crate) fn accounts(world: &World) -> Vec<Account> {
    let users = world.users.iter();
    users
        .map(|user| Account {
            name: user.name.clone(),
            email: user.email.clone(),
            account_id: user.account_id.clone(),
            token: user.token.clone(),
        })
        .collect()
}

/// The answer to `GET /oauth/token/accessible-resources`.
pub(crate) fn accessible_resources(world: &World, base: &str) -> Value {
    json!([{"id": world.cloud_id, "url": base, "name": "fake", "scopes": [], "avatarUrl": base}])
}
