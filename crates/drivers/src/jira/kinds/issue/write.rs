//! Creation and change of an issue's fields.

use serde_json::{Map, Value, json};
use stateward_domain::failure::Failure;
use stateward_domain::ports::driver::{Create, Outcome, Update};

use super::fields::{self, OWN_LABELS, label_changes};
use super::screen::{self, Encoded, create_screen, edit_screen, encoded, missing};
use super::transition;
use crate::jira::client::{ApiError, CallClient, Request, nonsense};
use crate::jira::kinds::{created, done, not_created, planned};
use crate::jira::owner::{PROPERTY, Property, label};

/// Fields that only transitions write.
const BY_TRANSITION: &[&str] = &["status", "statusPath"];

/// See `Driver::create`.
pub(super) async fn create(client: CallClient<'_>, create: &Create) -> Result<Outcome, Failure> {
    // A cached screen may lack what an administrator just added: then it is read again, once.
    let body = match creation(client, create).await {
        Err(_) => {
            client.forget_lists();
            creation(client, create).await?
        }
        Ok(body) => body,
    };
    let reply = client.send(Request::post(&["issue"], body)).await;
    let reply = reply.map_err(|error| not_created(client, create, error))?;
    let Some(id) = reply.body["id"].as_str() else {
        client.wrote(&create.owner_key.0);
        let unnamed = nonsense("JIRA created an issue and does not say which", true);
        return Err(unnamed.into());
    };
    created(client, create, id).await
}

/// The body of the creation: everything that needs no transition, in one request.
async fn creation(client: CallClient<'_>, create: &Create) -> Result<Value, ApiError> {
    let text = |name: &str| create.spec[name].as_str().unwrap_or_default();
    let (issuetype, on_screen) = create_screen(client, text("project"), text("issuetype")).await?;
    let mut wanted = create.spec.as_object().cloned().unwrap_or_default();
    for field in ["project", "issuetype", "resolution", "labels"].iter().chain(BY_TRANSITION) {
        wanted.remove(*field);
    }
    // Null says that the field is empty, as it is in a new issue; screens may lack it.
    wanted.retain(|_, value| !value.is_null());
    let name = format!("the create screen of {} in {}", text("issuetype"), text("project"));
    let Encoded { fields: mut members, users } =
        encoded(client, &name, &on_screen, &wanted).await?;
    let project = text("project");
    let by = if crate::jira::kinds::is_number(project) { "id" } else { "key" };
    members.insert("project".to_owned(), json!({ by: project }));
    members.insert("issuetype".to_owned(), json!({"id": issuetype}));
    let mut property =
        Property { owner: Some(create.owner_key.clone()), users, ..Property::default() };
    let labels = create.spec["labels"].as_array().cloned().unwrap_or_default();
    if on_screen.iter().any(|field| field.id == "labels") {
        let mark = label(&create.owner_key).map(Value::from);
        let all: Vec<_> = labels.iter().cloned().chain(mark).collect();
        members.insert("labels".to_owned(), Value::Array(all));
    } else if !labels.is_empty() {
        let why = format!("{name} has no field `labels`");
        return Err(screen::refused("no_such_field", why));
    }
    property.labels = labels.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let lacking = missing(&on_screen, &members);
    if !lacking.is_empty() {
        let why = format!("{name} requires {}", lacking.join(", "));
        return Err(screen::refused("required_field", why));
    }
    Ok(json!({"fields": members, "properties": [property.entry()]}))
}

/// See `Driver::update`: the fields in one request, then the first hop towards the status.
pub(super) async fn update(client: CallClient<'_>, update: &Update) -> Result<Outcome, Failure> {
    let id = update.target.external_id.as_str();
    let mut wanted = planned(&update.spec, &update.fields);
    let has_status = wanted.remove("status").is_some();
    if has_status {
        // The transition that asks for a resolution sets it.
        wanted.remove("resolution");
    }
    let changes = !wanted.is_empty();
    if changes {
        write_fields(client, id, wanted).await?;
    }
    if has_status {
        let moved = transition::first(client, id, &update.spec).await;
        return moved.map_err(|failure| if changes { partial(failure) } else { failure });
    }
    Ok(done(id))
}

fn partial(failure: Failure) -> Failure {
    Failure { effect: stateward_domain::failure::Effect::Partial, ..failure }
}

async fn write_fields(
    client: CallClient<'_>,
    id: &str,
    mut wanted: Map<String, Value>,
) -> Result<(), ApiError> {
    let labels = wanted.remove("labels");
    let on_screen = edit_screen(client, id).await?;
    let name = "the edit screen of the issue";
    let Encoded { fields: members, users } = encoded(client, name, &on_screen, &wanted).await?;
    let mut body = json!({});
    if !members.is_empty() {
        body["fields"] = Value::Object(members);
    }
    if labels.is_some() || !users.is_empty() {
        // What the property says besides stays.
        let row = client.read(
            Request::get(&["issue", id]).query("fields", "labels").query("properties", PROPERTY),
        );
        let row = row.await?;
        let mut property = fields::property(&row);
        if let Some(labels) = &labels {
            let there = json!({"labels": row["fields"]["labels"], OWN_LABELS: property.labels});
            let (added, removed) = label_changes(&there, labels);
            let add = added.iter().map(|label| json!({"add": label}));
            let remove = removed.iter().map(|label| json!({"remove": label}));
            let operations: Vec<_> = add.chain(remove).collect();
            if !operations.is_empty() {
                body["update"] = json!({"labels": operations});
            }
            let wanted = labels.as_array().into_iter().flatten().filter_map(Value::as_str);
            property.labels = wanted.map(str::to_owned).collect();
        }
        property.users.extend(users);
        body["properties"] = json!([property.entry()]);
    }
    client.send(Request::put(&["issue", id], body)).await?;
    client.wrote(id);
    Ok(())
}
