//! JIRA's JSON form of users, projects and what hangs on issues.

use serde_json::{Value, json};

use super::call::Call;
use super::rich_text;
use super::rows::{
    Attachment, Comment, Component, Issue, Link, Project, RemoteLink, User, Version,
};
use super::site::{self, IssueType, LinkType, Status};
use super::world::View;

/// Renders what a view shows for one call.
#[derive(Clone, Copy)]
pub(crate) struct Render<'a> {
    pub(crate) view: View<'a>,
    pub(crate) call: &'a Call,
}

/// Adds a member if there is a value for it: JIRA leaves the other ones out.
fn insert(object: &mut Value, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        object[name] = value;
    }
}

impl Render<'_> {
    fn avatars(&self) -> Value {
        let url = |size: &str| format!("{}/secure/useravatar?size={size}", self.call.base);
        json!({"16x16": url("xsmall"), "24x24": url("small"), "32x32": url("medium"), "48x48": url("large")})
    }

    /// A user.
    pub(crate) fn user(&self, user: &User) -> Value {
        let mut out = json!({
            "displayName": user.display_name, "active": user.active, "avatarUrls": self.avatars(),
            "timeZone": format!("Etc/GMT-{}", self.call.utc_offset_hours), "emailAddress": user.email,
        });
        if self.call.is_cloud {
            let path = format!("user?accountId={}", user.account_id);
            out["accountId"] = json!(user.account_id);
            out["accountType"] = json!("atlassian");
            out["self"] = json!(self.call.address(&path));
        } else {
            out["name"] = json!(user.name);
            out["key"] = json!(user.name);
            out["self"] = json!(self.call.address(&format!("user?username={}", user.name)));
        }
        out
    }

    /// The user of this name; null for none.
    pub(crate) fn user_named(&self, name: &str) -> Value {
        self.view.world.user(name).map_or(Value::Null, |user| self.user(user))
    }

    /// A status.
    pub(crate) fn status(&self, status: &Status) -> Value {
        let category = &status.category;
        json!({
            "self": self.call.address(&format!("status/{}", status.id)), "description": "",
            "iconUrl": format!("{}/images/icons/statuses/generic.png", self.call.base),
            "name": status.name, "id": status.id,
            "statusCategory": {
                "self": self.call.address(&format!("statuscategory/{}", category.id)),
                "id": category.id, "key": category.key, "colorName": category.color, "name": category.name,
            },
        })
    }

    /// An issue type.
    pub(crate) fn issue_type(&self, kind: &IssueType) -> Value {
        let mut out = json!({
            "self": self.call.address(&format!("issuetype/{}", kind.id)), "id": kind.id, "name": kind.name,
            "description": "", "subtask": kind.subtask, "avatarId": 10_300,
            "iconUrl": format!("{}/images/icons/issuetypes/{}.svg", self.call.base, kind.id),
        });
        if self.call.is_cloud {
            out["hierarchyLevel"] = json!(kind.level);
        }
        out
    }

    /// A priority.
    pub(crate) fn priority(&self, id: &str) -> Value {
        let found = site::PRIORITIES.iter().find(|(known, _)| *known == id);
        found.map_or(Value::Null, |(id, name)| {
            json!({
                "self": self.call.address(&format!("priority/{id}")), "id": id, "name": name,
                "iconUrl": format!("{}/images/icons/priorities/{}.svg", self.call.base, name.to_lowercase()),
            })
        })
    }

    /// A resolution.
    pub(crate) fn resolution(&self, id: &str) -> Value {
        let found = site::RESOLUTIONS.iter().find(|(known, _)| *known == id);
        found.map_or(Value::Null, |(id, name)| {
            let address = self.call.address(&format!("resolution/{id}"));
            json!({"self": address, "id": id, "name": name, "description": ""})
        })
    }

    /// A project as issues name it.
    pub(crate) fn project_reference(&self, project: &Project) -> Value {
        let mut out = json!({
            "self": self.call.address(&format!("project/{}", project.id)),
            "id": project.id.to_string(), "key": project.key, "name": project.name,
            "projectTypeKey": project.type_key, "avatarUrls": self.avatars(),
        });
        if self.call.is_cloud {
            out["simplified"] = json!(false);
        }
        insert(&mut out, "projectCategory", self.category(project));
        out
    }

    fn category(&self, project: &Project) -> Option<Value> {
        let found = site::CATEGORIES.iter().find(|(id, _)| Some(*id) == project.category);
        found.map(|(id, name)| {
            let address = self.call.address(&format!("projectCategory/{id}"));
            json!({"self": address, "id": id.to_string(), "name": name, "description": ""})
        })
    }

    /// A project in full.
    pub(crate) fn project(&self, project: &Project) -> Value {
        let world = self.view.world;
        let mut out = self.project_reference(project);
        out["expand"] = json!("description,lead,issueTypes,url,projectKeys,permissions,insight");
        out["description"] = json!(project.description);
        out["lead"] = self.user_named(&project.lead);
        out["assigneeType"] = json!(project.assignee_type);
        let types = site::ISSUE_TYPES.iter().map(|kind| self.issue_type(kind));
        out["issueTypes"] = types.collect();
        let components = world.components.list(self.view.at);
        out["components"] = components
            .filter(|row| row.project == project.id)
            .map(|row| self.component(row))
            .collect();
        let versions = world.versions.list(self.view.at);
        out["versions"] =
            versions.filter(|row| row.project == project.id).map(|row| self.version(row)).collect();
        let roles = site::ROLES.iter().map(|(name, id)| {
            let address = self.call.address(&format!("project/{}/role/{id}", project.id));
            ((*name).to_owned(), json!(address))
        });
        out["roles"] = Value::Object(roles.collect());
        insert(&mut out, "url", project.url.as_ref().map(|url| json!(url)));
        if self.call.is_cloud {
            out["style"] = json!("classic");
            out["isPrivate"] = json!(false);
            out["properties"] = json!({});
        }
        self.add_end(project, &mut out);
        out
    }

    /// A project in a list: with its description, lead, address and issue types only where they were asked for.
    pub(crate) fn listed_project(&self, project: &Project) -> Value {
        let mut out = self.project_reference(project);
        let full = self.project(project);
        for name in ["description", "lead", "url", "issueTypes"] {
            if let Some(value) = full.get(name).filter(|_| self.call.expands(name)) {
                out[name] = value.clone();
            }
        }
        if self.call.is_cloud {
            out["style"] = json!("classic");
            out["isPrivate"] = json!(false);
            out["properties"] = json!({});
        }
        self.add_end(project, &mut out);
        out
    }

    /// Adds whether a project is archived or in the recycle bin.
    fn add_end(&self, project: &Project, out: &mut Value) {
        if project.archived {
            out["archived"] = json!(true);
        }
        if let Some(deleted) = project.deleted {
            out["deleted"] = json!(true);
            out["deletedDate"] = json!(self.call.moment(deleted));
        }
    }

    /// A version.
    pub(crate) fn version(&self, version: &Version) -> Value {
        let mut out = json!({
            "self": self.call.address(&format!("version/{}", version.id)), "id": version.id.to_string(),
            "name": version.name, "archived": version.archived, "released": version.released,
            "projectId": version.project,
        });
        let text = |text: &Option<String>| text.as_ref().map(|text| json!(text));
        insert(&mut out, "description", text(&version.description));
        insert(&mut out, "startDate", text(&version.start_date));
        insert(&mut out, "releaseDate", text(&version.release_date));
        if let (Some(date), false) = (&version.release_date, version.released) {
            let today = self.call.time.to_zoned(self.call.zone()).date().to_string();
            out["overdue"] = json!(date < &today);
        }
        out
    }

    /// A component.
    pub(crate) fn component(&self, component: &Component) -> Value {
        let project = self.view.project_by_id(component.project);
        let mut out = json!({
            "self": self.call.address(&format!("component/{}", component.id)),
            "id": component.id.to_string(), "name": component.name,
            "project": project.map_or("", |project| project.key.as_str()),
            "projectId": component.project, "isAssigneeTypeValid": true,
            "assigneeType": component.assignee_type, "realAssigneeType": component.assignee_type,
        });
        insert(&mut out, "description", component.description.as_ref().map(|text| json!(text)));
        insert(&mut out, "lead", component.lead.as_ref().map(|lead| self.user_named(lead)));
        out
    }

    /// A comment; its properties only when they were asked for.
    pub(crate) fn comment(&self, comment: &Comment) -> Value {
        let path = format!("issue/{}/comment/{}", comment.issue, comment.id);
        let mut out = json!({
            "self": self.call.address(&path), "id": comment.id.to_string(),
            "author": self.user_named(&comment.author), "body": rich_text::shown(&comment.body, self.call.api),
            "updateAuthor": self.user_named(&comment.update_author),
            "created": self.call.moment(comment.created), "updated": self.call.moment(comment.updated),
        });
        if self.call.is_cloud {
            out["jsdPublic"] = json!(true);
        }
        insert(&mut out, "visibility", comment.visibility.clone());
        if self.call.expands("properties") {
            let properties = comment.properties.iter();
            out["properties"] =
                properties.map(|(key, value)| json!({"key": key, "value": value})).collect();
        }
        if self.call.expands("renderedBody") {
            let text = rich_text::shown(&comment.body, 2);
            out["renderedBody"] = json!(format!("<p>{}</p>", text.as_str().unwrap_or_default()));
        }
        out
    }

    /// A type of links.
    pub(crate) fn link_type(&self, kind: &LinkType) -> Value {
        json!({
            "id": kind.id, "name": kind.name, "inward": kind.inward, "outward": kind.outward,
            "self": self.call.address(&format!("issueLinkType/{}", kind.id)),
        })
    }

    /// An issue as links, parents and subtasks name it.
    pub(crate) fn linked_issue(&self, issue: &Issue) -> Value {
        let mut fields = json!({
            "summary": issue.text("summary"), "priority": self.priority(issue.text("priority")),
        });
        insert(&mut fields, "status", site::status(issue.status).map(|status| self.status(status)));
        let kind = site::issue_type(issue.text("issuetype"));
        insert(&mut fields, "issuetype", kind.map(|kind| self.issue_type(kind)));
        json!({
            "id": issue.id.to_string(), "key": self.view.key(issue),
            "self": self.call.address(&format!("issue/{}", issue.id)), "fields": fields,
        })
    }

    /// A link, with those of its ends that can be seen and are not `near`.
    pub(crate) fn link(&self, link: &Link, near: Option<u64>) -> Value {
        let kind = site::LINK_TYPES.iter().find(|kind| kind.id == link.kind);
        let mut out = json!({
            "id": link.id.to_string(), "self": self.call.address(&format!("issueLink/{}", link.id)),
            "type": kind.map(|kind| self.link_type(kind)),
        });
        let end = |id: u64| {
            let issue = self.view.issue(&id.to_string()).filter(|_| near != Some(id));
            issue.map(|issue| self.linked_issue(issue))
        };
        insert(&mut out, "inwardIssue", end(link.source));
        insert(&mut out, "outwardIssue", end(link.target));
        out
    }

    /// The links of an issue whose other ends can be seen.
    pub(crate) fn links_of(&self, issue: &Issue) -> Value {
        let links = self.view.world.links.list(self.view.at);
        let of_issue = links.filter(|link| link.source == issue.id || link.target == issue.id);
        let shown = of_issue.map(|link| self.link(link, Some(issue.id)));
        shown
            .filter(|link| link.get("inwardIssue").or_else(|| link.get("outwardIssue")).is_some())
            .collect()
    }

    /// A remote link.
    pub(crate) fn remote_link(&self, link: &RemoteLink) -> Value {
        let path = format!("issue/{}/remotelink/{}", link.issue, link.id);
        let mut out =
            json!({"id": link.id, "self": self.call.address(&path), "object": link.object});
        insert(&mut out, "globalId", link.global_id.as_ref().map(|id| json!(id)));
        insert(
            &mut out,
            "application",
            Some(link.application.clone().unwrap_or_else(|| json!({}))),
        );
        insert(&mut out, "relationship", link.relationship.as_ref().map(|text| json!(text)));
        out
    }

    /// An attachment; `is_numbered`: with its id as a number, as its own resource shows it.
    pub(crate) fn attachment(&self, file: &Attachment, is_numbered: bool) -> Value {
        let content = if self.call.is_cloud {
            self.call.address(&format!("attachment/content/{}", file.id))
        } else {
            format!("{}/secure/attachment/{}/{}", self.call.base, file.id, file.filename)
        };
        let id = if is_numbered { json!(file.id) } else { json!(file.id.to_string()) };
        json!({
            "self": self.call.address(&format!("attachment/{}", file.id)), "id": id,
            "filename": file.filename, "author": self.user_named(&file.author),
            "created": self.call.moment(file.created), "size": file.content.len(),
            "mimeType": file.mime, "content": content,
        })
    }
}
