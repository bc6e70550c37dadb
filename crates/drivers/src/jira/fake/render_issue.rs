//! JIRA's JSON form of issues and of the metadata of their fields.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::call::Call;
use super::field_catalog::{self, FIELDS, FieldDef, FieldKind, SEVERITY};
use super::render::Render;
use super::rich_text;
use super::rows::Issue;
use super::site::{self, IssueType, Transition};
use super::world::{View, World};

/// The fields and properties that a request asks for.
pub(crate) struct Selection {
    /// Names of fields, `*all`, `*navigable`, and with `-` those that are left out.
    fields: Vec<String>,
    properties: Vec<String>,
    expand: Vec<String>,
}

impl Selection {
    /// What the query asks for; `default` without `fields`.
    pub(crate) fn of_query(call: &Call, default: &str) -> Self {
        let texts =
            |name: &str| call.params(name).into_iter().map(str::to_owned).collect::<Vec<_>>();
        Self::new(texts("fields"), texts("properties"), texts("expand"), default)
    }

    /// What a body asks for; `default` without `fields`.
    pub(crate) fn of_body(body: &Value, default: &str) -> Self {
        let texts = |name: &str| {
            let texts: Vec<&str> = match &body[name] {
                Value::String(text) => text.split(',').collect(),
                Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
                _ => Vec::new(),
            };
            texts.into_iter().map(|text| text.trim().to_owned()).collect::<Vec<_>>()
        };
        Self::new(texts("fields"), texts("properties"), texts("expand"), default)
    }

    fn new(
        mut fields: Vec<String>,
        properties: Vec<String>,
        expand: Vec<String>,
        default: &str,
    ) -> Self {
        if fields.is_empty() {
            fields.push(default.to_owned());
        }
        Self { fields, properties, expand }
    }

    /// Whether ids and keys alone are asked for.
    pub(crate) fn is_of_ids(&self) -> bool {
        self.fields.iter().all(|field| field == "id" || field == "key")
            && self.properties.is_empty()
    }

    fn has(&self, field: &str) -> bool {
        let named = |name: &str| self.fields.iter().any(|known| known == name);
        let only_left_out = self.fields.iter().all(|known| known.starts_with('-'));
        let is_heavy = matches!(field, "comment" | "attachment" | "issuelinks" | "subtasks");
        let in_group = named("*all") || only_left_out || named("*navigable") && !is_heavy;
        (in_group || named(field)) && !named(&format!("-{field}"))
    }

    fn expands(&self, what: &str) -> bool {
        self.expand.iter().any(|known| known == what)
    }
}

impl Render<'_> {
    /// An issue.
    pub(crate) fn issue(&self, issue: &Issue, selection: &Selection) -> Value {
        let id_only = selection.fields.iter().all(|field| field == "id");
        if id_only && selection.properties.is_empty() {
            return json!({"id": issue.id.to_string()});
        }
        let mut out = json!({
            "expand": "renderedFields,names,schema,operations,editmeta,changelog,versionedRepresentations",
            "id": issue.id.to_string(), "key": self.view.key(issue),
            "self": self.call.address(&format!("issue/{}", issue.id)),
        });
        if !selection.is_of_ids() {
            out["fields"] = Value::Object(self.fields_of(issue, selection));
        }
        if !selection.properties.is_empty() {
            let all = selection.properties.iter().any(|key| key == "*all");
            let shown = issue
                .properties
                .iter()
                .filter(|(key, _)| all || selection.properties.contains(key))
                .map(|(key, value)| (key.clone(), value.clone()));
            out["properties"] = Value::Object(shown.collect());
        }
        if selection.expands("transitions") {
            let transitions = site::transitions(issue.status);
            out["transitions"] =
                transitions.map(|known| self.transition(known, issue, false)).collect();
        }
        if selection.expands("editmeta") {
            out["editmeta"] = json!({"fields": self.edit_meta(issue)});
        }
        if selection.expands("names") {
            let names = FIELDS.iter().filter(|def| selection.has(def.id));
            out["names"] =
                names.map(|def| (def.id.to_owned(), json!(def.name))).collect::<Map<_, _>>().into();
        }
        out
    }

    fn fields_of(&self, issue: &Issue, selection: &Selection) -> Map<String, Value> {
        let mut fields = Map::new();
        for def in FIELDS {
            if !selection.has(def.id) || def.kind == FieldKind::Parent && issue.parent().is_none() {
                continue;
            }
            fields.insert(def.id.to_owned(), self.field(def, issue));
        }
        let status =
            || site::status(issue.status).map_or(Value::Null, |status| self.status(status));
        let others: [(&str, &dyn Fn() -> Value); 13] = [
            ("status", &status),
            ("creator", &|| self.user_named(&issue.creator)),
            ("created", &|| json!(self.call.moment(issue.created))),
            ("updated", &|| json!(self.call.moment(issue.updated))),
            ("resolutiondate", &|| json!(issue.resolved.map(|at| self.call.moment(at)))),
            ("watches", &|| self.watches(issue)),
            ("votes", &|| {
                let address = self.call.address(&format!("issue/{}/votes", issue.id));
                json!({"self": address, "votes": 0, "hasVoted": false})
            }),
            ("comment", &|| self.comments_of(issue)),
            ("attachment", &|| {
                let files = self.view.world.attachments.list(self.view.at);
                let files = files.filter(|file| file.issue == issue.id);
                files.map(|file| self.attachment(file, false)).collect()
            }),
            ("issuelinks", &|| self.links_of(issue)),
            ("subtasks", &|| {
                let children = self.view.children(issue.id);
                children
                    .filter(|child| child.text("issuetype") == site::SUBTASK)
                    .map(|child| self.linked_issue(child))
                    .collect()
            }),
            ("security", &|| Value::Null),
            ("timetracking", &|| json!({})),
        ];
        for (name, value) in others {
            if selection.has(name) {
                fields.insert(name.to_owned(), value());
            }
        }
        fields
    }

    /// What the watchers' field of an issue holds.
    pub(crate) fn watches(&self, issue: &Issue) -> Value {
        let is_watching = self.call.user.as_ref().is_some_and(|user| issue.watchers.contains(user));
        json!({
            "self": self.call.address(&format!("issue/{}/watchers", issue.id)),
            "watchCount": issue.watchers.len(), "isWatching": is_watching,
        })
    }

    fn comments_of(&self, issue: &Issue) -> Value {
        let comments: Vec<_> =
            self.view.comments(issue.id).map(|comment| self.comment(comment)).collect();
        json!({
            "self": self.call.address(&format!("issue/{}/comment", issue.id)),
            "total": comments.len(), "maxResults": comments.len(), "startAt": 0, "comments": comments,
        })
    }

    fn field(&self, def: &FieldDef, issue: &Issue) -> Value {
        let value = issue.fields.get(def.id).unwrap_or(&Value::Null);
        let text = value.as_str().unwrap_or_default();
        let option = |id: &str| self.option(def, id);
        let list = |show: &dyn Fn(&str) -> Value| issue.list(def.id).map(show).collect::<Value>();
        match def.kind {
            FieldKind::Project => self
                .view
                .project_by_id(issue.project)
                .map_or(Value::Null, |project| self.project_reference(project)),
            FieldKind::IssueType => {
                site::issue_type(text).map_or(Value::Null, |kind| self.issue_type(kind))
            }
            FieldKind::Labels => list(&|label| json!(label)),
            FieldKind::Components => list(&|id| {
                self.view.component(id).map_or(Value::Null, |row| self.component_reference(row))
            }),
            FieldKind::Versions => list(&|id| {
                self.view.version(id).map_or(Value::Null, |row| self.version_reference(row))
            }),
            FieldKind::Choices if value.is_null() => Value::Null,
            FieldKind::Choices => list(&option),
            _ if value.is_null() => Value::Null,
            FieldKind::Line | FieldKind::Number | FieldKind::Date => value.clone(),
            FieldKind::Rich => rich_text::shown(value, self.call.api),
            FieldKind::User => self.user_named(text),
            FieldKind::Choice => option(text),
            FieldKind::Priority => self.priority(text),
            FieldKind::Resolution => self.resolution(text),
            FieldKind::Parent => {
                self.view.issue(text).map_or(Value::Null, |parent| self.linked_issue(parent))
            }
        }
    }

    fn component_reference(&self, row: &super::rows::Component) -> Value {
        let address = self.call.address(&format!("component/{}", row.id));
        json!({"self": address, "id": row.id.to_string(), "name": row.name})
    }

    fn version_reference(&self, row: &super::rows::Version) -> Value {
        let mut out = self.version(row);
        if let Some(out) = out.as_object_mut() {
            out.retain(|name, _| !matches!(name.as_str(), "projectId" | "startDate" | "overdue"));
        }
        out
    }

    fn option(&self, def: &FieldDef, id: &str) -> Value {
        let found = def.options.iter().find(|(known, _)| *known == id);
        found.map_or(Value::Null, |(id, value)| {
            let path = format!("customFieldOption/{id}");
            json!({"self": self.call.address(&path), "id": id, "value": value})
        })
    }

    fn allowed_values(&self, def: &FieldDef, project: u64) -> Option<Value> {
        let world = self.view.world;
        Some(match def.kind {
            FieldKind::Choice | FieldKind::Choices => {
                def.options.iter().map(|(id, _)| self.option(def, id)).collect()
            }
            FieldKind::Priority => {
                site::PRIORITIES.iter().map(|(id, _)| self.priority(id)).collect()
            }
            FieldKind::Resolution => {
                site::RESOLUTIONS.iter().map(|(id, _)| self.resolution(id)).collect()
            }
            FieldKind::IssueType => {
                site::ISSUE_TYPES.iter().map(|kind| self.issue_type(kind)).collect()
            }
            FieldKind::Components => {
                let rows = world.components.list(self.view.at).filter(|row| row.project == project);
                rows.map(|row| self.component_reference(row)).collect()
            }
            FieldKind::Versions => {
                let rows = world.versions.list(self.view.at).filter(|row| row.project == project);
                rows.map(|row| self.version_reference(row)).collect()
            }
            _ => return None,
        })
    }

    /// The metadata of a field.
    pub(crate) fn field_meta(&self, def: &FieldDef, project: u64, is_required: bool) -> Value {
        let has_default = matches!(def.kind, FieldKind::Priority);
        let mut out = json!({
            "required": is_required, "schema": def.schema(), "name": def.name, "key": def.id,
            "hasDefaultValue": has_default, "operations": def.operations(),
        });
        if has_default {
            out["defaultValue"] = self.priority(site::DEFAULT_PRIORITY);
        }
        if let Some(allowed) = self.allowed_values(def, project) {
            out["allowedValues"] = allowed;
        }
        if def.kind == FieldKind::Labels {
            let path = format!("{}/rest/api/1.0/labels/suggest?query=", self.call.base);
            out["autoCompleteUrl"] = json!(path);
        }
        out
    }

    /// The fields that can be edited, by id.
    pub(crate) fn edit_meta(&self, issue: &Issue) -> Value {
        let world = self.view.world;
        let kind = site::issue_type(issue.text("issuetype"));
        let fields =
            FIELDS.iter().filter(|def| is_on_screen(world, def) && def.kind != FieldKind::Project);
        let fields: BTreeMap<_, _> = fields
            .map(|def| {
                let is_required =
                    kind.is_some_and(|kind| is_required(def, kind)) && def.id != "project";
                (def.id, self.field_meta(def, issue.project, is_required))
            })
            .collect();
        json!(fields)
    }

    /// A transition; `with_fields`: with the fields of its screen.
    pub(crate) fn transition(&self, known: &Transition, issue: &Issue, with_fields: bool) -> Value {
        let mut out = json!({
            "id": known.id, "name": known.name, "to": site::status(known.to).map(|to| self.status(to)),
            "hasScreen": !known.screen.is_empty(), "isGlobal": known.from.is_empty(),
            "isInitial": false, "isConditional": false,
        });
        if self.call.is_cloud {
            out["isAvailable"] = json!(true);
            out["looped"] = json!(false);
        }
        if with_fields {
            let fields = known.screen.iter().filter_map(|(id, required)| {
                let def = field_catalog::field(id)?;
                Some(((*id).to_owned(), self.field_meta(def, issue.project, *required)))
            });
            out["fields"] = Value::Object(fields.collect());
        }
        out
    }
}

/// Whether a field can be set when an issue is created or edited.
pub(crate) fn is_on_screen(world: &World, def: &FieldDef) -> bool {
    def.on_screens && !world.control.off_screen.contains(def.id)
}

/// Whether issues of a type need the field.
pub(crate) fn is_required(def: &FieldDef, kind: &IssueType) -> bool {
    match def.id {
        "summary" | "issuetype" | "project" => true,
        "parent" => kind.subtask,
        SEVERITY => kind.id == site::BUG,
        _ => false,
    }
}

/// The view that a call reads from.
pub(crate) fn reading<'a>(world: &'a World, call: &Call) -> View<'a> {
    let at = call.now.checked_sub(world.options.read_lag).unwrap_or(call.now);
    world.view(at, call.user.is_none())
}

/// The view that a call writes to: the site as it is now.
pub(crate) fn writing<'a>(world: &'a World, call: &Call) -> View<'a> {
    world.view(call.now, call.user.is_none())
}
