//! Transitions: one hop, then the issue is observed again before the next.

use serde_json::{Map, Value, json};
use stateward_domain::failure::Failure;
use stateward_domain::id::ActionName;
use stateward_domain::kind::ActionSpec;
use stateward_domain::ports::driver::{Act, Outcome};

use super::fields::CUSTOM;
use super::screen::{encoded, missing, refused, screen_fields};
use super::status::{is_status, next_hop};
use crate::jira::client::{ApiError, CallClient, ErrorKind, Request};
use crate::jira::kinds::done;
use crate::jira::kinds::job::{Job, Work};
use crate::jira::kinds::users::user_id;

/// Time between hops: how long a read usually lags.
const POLL_MS: u64 = 500;
/// Polls of one change at most, with those that find an old state.
const POLLS_MAX: u32 = 200;

/// Longer custom fields are not given to transitions: they are kept in the log meanwhile.
const CUSTOM_BYTES_MAX: usize = 4_096;

/// Action: takes the transition that the input names.
const TRANSITION: &str = "transition";
/// Action: adds a watcher.
const WATCH: &str = "watch";

/// The actions of issues. None touches a managed field: `transition` is for issues whose status is not declared.
pub(super) fn actions() -> Vec<ActionSpec> {
    let action = |name: &str, idempotent, member: &str| ActionSpec {
        name: ActionName::from(name),
        input: json!({
            "type": "object", "additionalProperties": false, "required": [member],
            "properties": {member: {"type": "string", "minLength": 1}},
        }),
        idempotent,
    };
    vec![action(TRANSITION, false, "transition"), action(WATCH, true, "user")]
}

/// The first hop towards the status of `spec`.
pub(super) async fn first(
    client: CallClient<'_>,
    id: &str,
    spec: &Value,
) -> Result<Outcome, Failure> {
    let mut spec = spec.clone();
    if let Some(members) = spec.as_object_mut() {
        // Long, and no transition sets it.
        members.remove("description");
        if let Some(custom) = members.get_mut(CUSTOM).and_then(Value::as_object_mut) {
            custom.retain(|_, value| value.to_string().len() < CUSTOM_BYTES_MAX);
        }
    }
    let job = Job::new(super::META.name, id, Work::Transition { spec, visited: Vec::new() });
    hop(client, job).await
}

/// See `Driver::resume`.
pub(super) async fn resume(client: CallClient<'_>, job: Job) -> Result<Outcome, Failure> {
    if job.polls > POLLS_MAX {
        let message = "the issue does not get to its status";
        return Err(ApiError::harmless(ErrorKind::Transient, "too_many_polls", message).into());
    }
    hop(client, job).await
}

async fn hop(client: CallClient<'_>, mut job: Job) -> Result<Outcome, Failure> {
    let Work::Transition { spec, visited } = &mut job.work else {
        return Err(crate::jira::kinds::no_job());
    };
    let row = client.read(Request::get(&["issue", &job.id]).query("fields", "status,updated"));
    let row = row.await?;
    // The memory of recent writes has another row under the same id: the hop's reads are compared with each other.
    if client.is_fresh(&format!("{} status", job.id), &row).is_err() {
        return Ok(job.pending(POLL_MS));
    }
    let current = &row["fields"]["status"];
    let wanted = spec["status"].as_str().unwrap_or_default();
    if is_status(current, wanted) {
        return Ok(done(&job.id));
    }
    let transitions = transitions(client, &job.id).await?;
    let path = spec["statusPath"].as_array().into_iter().flatten();
    let path: Vec<_> = path.filter_map(Value::as_str).map(str::to_owned).collect();
    visited.push(current["id"].as_str().unwrap_or_default().to_owned());
    let way = next_hop(current, wanted, &path, &transitions, visited);
    let way = way.map_err(|why| refused("no_transition", why))?;
    let members = fields_of(client, way, spec).await?;
    let mut body = json!({"transition": {"id": way["id"]}});
    if !members.is_empty() {
        body["fields"] = Value::Object(members);
    }
    client.send(Request::post(&["issue", &job.id, "transitions"], body)).await?;
    client.wrote(&job.id);
    client.wrote(&format!("{} status", job.id));
    Ok(job.pending(POLL_MS))
}

async fn transitions(client: CallClient<'_>, id: &str) -> Result<Vec<Value>, ApiError> {
    let request = Request::get(&["issue", id, "transitions"]).query("expand", "transitions.fields");
    let reply = client.read(request).await?;
    Ok(reply["transitions"].as_array().cloned().unwrap_or_default())
}

/// The fields that a transition asks for, from the desired state.
async fn fields_of(
    client: CallClient<'_>,
    way: &Value,
    spec: &Value,
) -> Result<Map<String, Value>, ApiError> {
    let asked = screen_fields(&way["fields"]);
    let mut given = Map::new();
    let mut custom = Map::new();
    let declared = |name: &str| spec.get(name).filter(|value| !value.is_null());
    for field in asked.iter().filter(|field| field.required || field.id == "resolution") {
        if let Some(value) = declared(&field.id) {
            given.insert(field.id.clone(), value.clone());
        } else {
            let of = &spec[CUSTOM];
            let value = of.get(&field.id).or_else(|| of.get(&field.name));
            custom.extend(value.map(|value| (field.id.clone(), value.clone())));
        }
    }
    if !custom.is_empty() {
        given.insert(CUSTOM.to_owned(), Value::Object(custom));
    }
    let name = format!("transition `{}`", way["name"].as_str().unwrap_or("?"));
    let members = encoded(client, &name, &asked, &given).await?.fields;
    let lacking = missing(&asked, &members);
    if lacking.is_empty() {
        Ok(members)
    } else {
        let why = format!("{name} asks for {}", lacking.join(", "));
        Err(refused("required_field", why))
    }
}

/// See `Driver::action`.
pub(super) async fn act(client: CallClient<'_>, act: &Act) -> Result<Outcome, Failure> {
    let id = act.target.external_id.as_str();
    match act.action.as_str() {
        TRANSITION if act.spec.get("status").is_some() => {
            let why = "the status is declared: change the desired state instead";
            Err(refused("managed_field", why).into())
        }
        TRANSITION => {
            let wanted = act.input["transition"].as_str().unwrap_or_default();
            let offered = transitions(client, id).await?;
            let is = |way: &&Value| {
                way["id"] == *wanted
                    || way["name"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(wanted))
            };
            let Some(way) = offered.iter().find(is) else {
                let names = offered.iter().filter_map(|way| way["name"].as_str());
                let near = crate::nearest_name::nearest(wanted, names);
                let why = format!("the workflow offers no transition `{wanted}`; there is {near}");
                return Err(refused("no_transition", why).into());
            };
            let mut body = json!({"transition": {"id": way["id"]}});
            let members = fields_of(client, way, &act.spec).await?;
            if !members.is_empty() {
                body["fields"] = Value::Object(members);
            }
            client.send(Request::post(&["issue", id, "transitions"], body)).await?;
            client.wrote(id);
            Ok(done(id))
        }
        WATCH => {
            let user = user_id(client, act.input["user"].as_str().unwrap_or_default()).await?;
            client.send(Request::post(&["issue", id, "watchers"], json!(user))).await?;
            Ok(done(id))
        }
        // Assigning is done by the desired state, or by a person.
        _ => Err(refused("no_action", "issues have no such action").into()),
    }
}
