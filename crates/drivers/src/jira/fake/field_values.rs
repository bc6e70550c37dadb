//! Checks the value of a field in a request and brings it into its canonical form.

use serde_json::{Value, json};

use super::call::Call;
use super::field_catalog::{FieldDef, FieldKind};
use super::rich_text;
use super::rows::User;
use super::site;
use super::world::View;

/// What a value is checked against: the site as it is now.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) view: View<'a>,
    pub(crate) call: &'a Call,
    pub(crate) project: u64,
}

/// The names by which requests refer to a thing, in the order in which they are tried.
fn reference<'v>(value: &'v Value, names: &[&str]) -> Option<(String, &'v Value)> {
    names.iter().find_map(|name| {
        let text = value.get(*name)?;
        (!text.is_null()).then(|| ((*name).to_owned(), text))
    })
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The user that a request names: by `accountId` or `id` in Cloud, by `name` in Data Center.
pub(crate) fn named_user<'a>(view: View<'a>, call: &Call, value: &Value) -> Option<&'a User> {
    let users = &view.world.users;
    if call.is_cloud {
        let (_, id) = reference(value, &["accountId", "id"])?;
        users.iter().find(|user| user.account_id.as_str() == id)
    } else {
        let (_, name) = reference(value, &["name", "key"])?;
        users.iter().find(|user| user.name.as_str() == name)
    }
}

impl Target<'_> {
    /// The canonical form of a value that is set; null = not set.
    ///
    /// # Errors
    /// The message for this field.
    pub(crate) fn set(&self, def: &FieldDef, value: &Value) -> Result<Value, String> {
        if let (
            FieldKind::Labels | FieldKind::Components | FieldKind::Versions | FieldKind::Choices,
            Value::Array(items),
        ) = (def.kind, value)
        {
            let mut kept: Vec<Value> = Vec::new();
            for item in items {
                let item = self.item(def, item)?;
                if !kept.contains(&item) {
                    kept.push(item);
                }
            }
            return Ok(json!(kept));
        }
        if value.is_null() && def.kind != FieldKind::Line {
            return Ok(Value::Null);
        }
        match def.kind {
            FieldKind::Labels
            | FieldKind::Components
            | FieldKind::Versions
            | FieldKind::Choices => Err("data was not an array".to_owned()),
            FieldKind::Line => line(def, value),
            FieldKind::Rich => rich_text::stored(value, self.call.api),
            FieldKind::Number if value.is_number() => Ok(json!(value.as_f64())),
            FieldKind::Number => Err("Operation value must be a number".to_owned()),
            FieldKind::Date => date(value),
            FieldKind::User => self.user(def, value),
            _ => self.item(def, value),
        }
    }

    /// The canonical form of one item of a list, or of a reference.
    ///
    /// # Errors
    /// The message for this field.
    pub(crate) fn item(&self, def: &FieldDef, value: &Value) -> Result<Value, String> {
        let found = match def.kind {
            FieldKind::Labels => return label(value),
            FieldKind::Choice | FieldKind::Choices => return option(def, value),
            FieldKind::Priority => listed(site::PRIORITIES, value),
            FieldKind::Resolution => listed(site::RESOLUTIONS, value),
            FieldKind::IssueType => {
                let types: Vec<_> =
                    site::ISSUE_TYPES.iter().map(|known| (known.id, known.name)).collect();
                listed(&types, value)
            }
            // Resolved before: the target is in it.
            FieldKind::Project => Some(self.project.to_string()),
            FieldKind::Components => self.component(value),
            FieldKind::Versions => self.version(value),
            FieldKind::Parent => {
                let name = reference(value, &["id", "key"]).and_then(|(_, name)| text_of(name));
                let parent = name.and_then(|name| self.view.issue(&name));
                let parent = parent.filter(|parent| parent.project == self.project);
                parent.map(|parent| parent.id.to_string())
            }
            _ => None,
        };
        found.map(Value::String).ok_or_else(|| refusal(def, value))
    }

    fn user(&self, def: &FieldDef, value: &Value) -> Result<Value, String> {
        let is_automatic =
            [&value["accountId"], &value["id"], &value["name"]].iter().any(|id| **id == "-1");
        if def.id == "assignee" && is_automatic {
            return Ok(self.automatic_assignee());
        }
        let is_anonymous = reference(value, &["accountId", "id", "name", "key"]).is_none();
        if is_anonymous && value.is_object() {
            return Ok(Value::Null);
        }
        let Some(user) = named_user(self.view, self.call, value) else {
            return Err(match def.id {
                "assignee" | "reporter" => {
                    "Specify a valid user. The user does not exist.".to_owned()
                }
                _ => "User does not exist.".to_owned(),
            });
        };
        if !user.active && def.id == "assignee" {
            return Err(format!("User '{}' cannot be assigned issues.", user.display_name));
        }
        if !user.active {
            return Err(format!("The user '{}' is not active.", user.display_name));
        }
        Ok(json!(user.name))
    }

    /// The assignee of an issue for which a request names none.
    pub(crate) fn automatic_assignee(&self) -> Value {
        let project = self.view.project_by_id(self.project);
        let lead = project.filter(|project| project.assignee_type == "PROJECT_LEAD");
        lead.map_or(Value::Null, |project| json!(project.lead))
    }

    fn component(&self, value: &Value) -> Option<String> {
        let (name, text) = reference(value, &["id", "name"])?;
        let text = text_of(text)?;
        let mut rows = self.view.world.components.list(self.view.at);
        let found = rows.find(|row| {
            row.project == self.project
                && if name == "id" { row.id.to_string() == text } else { row.name == text }
        });
        found.map(|row| row.id.to_string())
    }

    fn version(&self, value: &Value) -> Option<String> {
        let (name, text) = reference(value, &["id", "name"])?;
        let text = text_of(text)?;
        let mut rows = self.view.world.versions.list(self.view.at);
        let found = rows.find(|row| {
            row.project == self.project
                && if name == "id" { row.id.to_string() == text } else { row.name == text }
        });
        found.map(|row| row.id.to_string())
    }
}

fn line(def: &FieldDef, value: &Value) -> Result<Value, String> {
    let Some(text) = value.as_str() else {
        if value.is_null() && def.id != "summary" {
            return Ok(Value::Null);
        }
        return Err("Operation value must be a string".to_owned());
    };
    let text = text.trim();
    if text.contains(['\n', '\r']) {
        return Err("The summary is invalid because it contains newline characters.".to_owned());
    }
    if text.chars().count() > 255 {
        return Err(format!("{} must be less than 255 characters.", def.name));
    }
    if text.is_empty() {
        return match def.id {
            "summary" => Err("You must specify a summary of the issue.".to_owned()),
            _ => Ok(Value::Null),
        };
    }
    Ok(json!(text))
}

/// The id of the thing that `value` names by `id` or `name`.
fn listed(known: &[(&str, &str)], value: &Value) -> Option<String> {
    let (by, text) = reference(value, &["id", "name"])?;
    let text = text_of(text)?;
    let found = known
        .iter()
        .find(|(id, name)| if by == "id" { *id == text } else { name.eq_ignore_ascii_case(&text) });
    found.map(|(id, _)| (*id).to_owned())
}

fn label(value: &Value) -> Result<Value, String> {
    let Some(text) = value.as_str() else { return Err("string expected at index 0".to_owned()) };
    if text.contains(char::is_whitespace) {
        return Err(format!("The label '{text}' contains spaces which is invalid."));
    }
    if text.is_empty() || text.chars().count() > 255 {
        return Err(format!(
            "The label '{text}' exceeds the maximum length of 255 characters or is empty."
        ));
    }
    Ok(json!(text))
}

fn option(def: &FieldDef, value: &Value) -> Result<Value, String> {
    let Some((by, text)) = reference(value, &["id", "value"]) else {
        return Err("Specify a valid 'id' or 'name' for ".to_owned() + def.name);
    };
    let text = text_of(text).unwrap_or_default();
    let found =
        def.options.iter().find(|(id, name)| if by == "id" { *id == text } else { *name == text });
    found.map(|(id, _)| json!(id)).ok_or_else(|| {
        if by == "id" {
            format!("Option id '{text}' is not valid")
        } else {
            format!("Option value '{text}' is not valid")
        }
    })
}

fn date(value: &Value) -> Result<Value, String> {
    let text = value.as_str().unwrap_or_default();
    if text.is_empty() && value.is_string() {
        return Ok(Value::Null);
    }
    let is_date = text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok();
    is_date
        .then(|| json!(text))
        .ok_or_else(|| format!("Error parsing date string: {text}. Expected format is yyyy-MM-dd"))
}

fn refusal(def: &FieldDef, value: &Value) -> String {
    let named =
        reference(value, &["name", "id", "key"]).map(|(_, text)| text_of(text).unwrap_or_default());
    match (def.kind, named) {
        (FieldKind::IssueType, _) => "Specify a valid issue type".to_owned(),
        (FieldKind::Priority, Some(name)) => format!("Priority name '{name}' is not valid"),
        (FieldKind::Resolution, Some(name)) => format!("Resolution name '{name}' is not valid"),
        (FieldKind::Components, Some(name)) => format!("Component name '{name}' is not valid"),
        (FieldKind::Versions, Some(name)) => format!("Version name '{name}' is not valid"),
        (FieldKind::Parent, _) => "Could not find issue by id or key.".to_owned(),
        _ => format!("Specify a valid 'id' or 'name' for {}", def.name),
    }
}
