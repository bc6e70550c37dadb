//! The fields of issues: their kinds, names and JSON schemas.

use serde_json::{Value, json};

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldKind {
    /// One line.
    Line,
    /// A document: ADF in v3, wiki text in v2.
    Rich,
    Number,
    Date,
    User,
    /// One of `options`.
    Choice,
    /// Some of `options`.
    Choices,
    Labels,
    Priority,
    Resolution,
    IssueType,
    Project,
    Components,
    Versions,
    Parent,
}

/// A field of issues.
pub(crate) struct FieldDef {
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) kind: FieldKind,
    /// Whether it is on the create and edit screens.
    pub(crate) on_screens: bool,
    /// The type of a custom field, without its prefix; empty = a system field.
    pub(crate) custom: &'static str,
    /// Ids and values of the options.
    pub(crate) options: &'static [(&'static str, &'static str)],
}

const fn system(id: &'static str, name: &'static str, kind: FieldKind) -> FieldDef {
    FieldDef { id, name, kind, on_screens: true, custom: "", options: &[] }
}

const fn custom(
    id: &'static str,
    name: &'static str,
    kind: FieldKind,
    custom: &'static str,
    options: &'static [(&'static str, &'static str)],
) -> FieldDef {
    FieldDef { id, name, kind, on_screens: true, custom, options }
}

/// Field that is required for bugs.
pub(crate) const SEVERITY: &str = "customfield_10031";

const SEVERITIES: &[(&str, &str)] = &[("10200", "Low"), ("10201", "Medium"), ("10202", "High")];
const TEAMS: &[(&str, &str)] = &[("10210", "Red"), ("10211", "Green"), ("10212", "Blue")];

pub(crate) const FIELDS: &[FieldDef] = &[
    system("summary", "Summary", FieldKind::Line),
    system("issuetype", "Issue Type", FieldKind::IssueType),
    system("project", "Project", FieldKind::Project),
    system("description", "Description", FieldKind::Rich),
    system("environment", "Environment", FieldKind::Rich),
    system("priority", "Priority", FieldKind::Priority),
    system("assignee", "Assignee", FieldKind::User),
    system("reporter", "Reporter", FieldKind::User),
    system("labels", "Labels", FieldKind::Labels),
    system("components", "Components", FieldKind::Components),
    system("fixVersions", "Fix versions", FieldKind::Versions),
    system("versions", "Affects versions", FieldKind::Versions),
    system("parent", "Parent", FieldKind::Parent),
    system("duedate", "Due date", FieldKind::Date),
    FieldDef { on_screens: false, ..system("resolution", "Resolution", FieldKind::Resolution) },
    custom("customfield_10030", "Story Points", FieldKind::Number, "float", &[]),
    custom(SEVERITY, "Severity", FieldKind::Choice, "select", SEVERITIES),
    custom("customfield_10032", "Root cause", FieldKind::Line, "textfield", &[]),
    custom("customfield_10033", "Notes", FieldKind::Rich, "textarea", &[]),
    custom("customfield_10034", "Teams", FieldKind::Choices, "multiselect", TEAMS),
    custom("customfield_10035", "Reviewer", FieldKind::User, "userpicker", &[]),
    custom("customfield_10036", "Go-live", FieldKind::Date, "datepicker", &[]),
];

/// The field with this id.
pub(crate) fn field(id: &str) -> Option<&'static FieldDef> {
    FIELDS.iter().find(|known| known.id == id)
}

impl FieldDef {
    /// JIRA's schema of the field.
    pub(crate) fn schema(&self) -> Value {
        let kind = self.kind;
        let (name, items) = match kind {
            FieldKind::Line | FieldKind::Rich => ("string", None),
            FieldKind::Number => ("number", None),
            FieldKind::Date => ("date", None),
            FieldKind::User => ("user", None),
            FieldKind::Choice => ("option", None),
            FieldKind::Choices => ("array", Some("option")),
            FieldKind::Labels => ("array", Some("string")),
            FieldKind::Priority => ("priority", None),
            FieldKind::Resolution => ("resolution", None),
            FieldKind::IssueType => ("issuetype", None),
            FieldKind::Project => ("project", None),
            FieldKind::Components => ("array", Some("component")),
            FieldKind::Versions => ("array", Some("version")),
            FieldKind::Parent => ("issuelink", None),
        };
        let mut schema = json!({"type": name});
        if let Some(items) = items {
            schema["items"] = json!(items);
        }
        if self.custom.is_empty() {
            schema["system"] = json!(self.id);
        } else {
            let prefix = "com.atlassian.jira.plugin.system.customfieldtypes";
            schema["custom"] = json!(format!("{prefix}:{}", self.custom));
            schema["customId"] = json!(self.number());
        }
        schema
    }

    /// The operations that `update` may name.
    pub(crate) fn operations(&self) -> &'static [&'static str] {
        match self.kind {
            FieldKind::Choices
            | FieldKind::Labels
            | FieldKind::Components
            | FieldKind::Versions => &["add", "set", "remove"],
            _ => &["set"],
        }
    }

    /// The number of a custom field; 0 for a system field.
    pub(crate) fn number(&self) -> u64 {
        let number = self.id.strip_prefix("customfield_");
        number.and_then(|number| number.parse().ok()).unwrap_or(0)
    }
}
