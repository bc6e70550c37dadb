//! Users, by id, name or e-mail address.

use serde_json::Value;

use crate::jira::client::{ApiError, CallClient, ErrorKind, Request};
use crate::jira::site::Deployment;
use crate::nearest_name::nearest;

/// The id of the user that a desired state names.
///
/// # Errors
/// `NoReference` if no active user, or more than one, is called so.
pub(super) async fn user_id(client: CallClient<'_>, wanted: &str) -> Result<String, ApiError> {
    let cloud = client.deployment() == Deployment::Cloud;
    let by = if cloud { "query" } else { "username" };
    let request = Request::get(&["user", "search"]).query(by, wanted);
    let mut found = client.rows(request, &[]).await?;
    if cloud && !found.iter().any(|user| user["accountId"] == wanted) {
        match client.read(Request::get(&["user"]).query("accountId", wanted)).await {
            Ok(user) => found.push(user),
            Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Invalid) => {}
            Err(error) => return Err(error),
        }
    }
    chosen(client.deployment(), wanted, &found)
}

fn chosen(deployment: Deployment, wanted: &str, found: &[Value]) -> Result<String, ApiError> {
    let refused = |code, message| Err(ApiError::harmless(ErrorKind::NoReference, code, message));
    let id = |user: &Value| user[deployment.user_id()].as_str().unwrap_or_default().to_owned();
    let is = |user: &&Value, member: &str| {
        user[member].as_str().is_some_and(|text| text.to_lowercase() == wanted.to_lowercase())
    };
    let mut matching: Vec<&Value> = found.iter().filter(|user| id(user) == wanted).collect();
    for member in ["emailAddress", "displayName", "key"] {
        if matching.is_empty() {
            matching = found.iter().filter(|user| is(user, member)).collect();
        }
    }
    // An address that JIRA found, and does not show.
    if let ([only], true, true) = (found, matching.is_empty(), wanted.contains('@'))
        && only["emailAddress"].as_str().is_none_or(str::is_empty)
    {
        matching = vec![only];
    }
    matching.dedup_by_key(|user| id(user));
    let active: Vec<_> = matching.iter().filter(|user| user["active"] != false).collect();
    match (&active[..], &matching[..]) {
        ([user], _) => Ok(id(user)),
        ([], []) => {
            let names = found.iter().filter_map(|user| user["displayName"].as_str());
            let near = nearest(wanted, names);
            let hint = if near.is_empty() { String::new() } else { format!("; there is {near}") };
            refused("no_such_user", format!("there is no user `{wanted}`{hint}"))
        }
        ([], _) => refused("user_deactivated", format!("user `{wanted}` is deactivated")),
        _ => {
            let message = format!("{} users are called `{wanted}`: name one by id", active.len());
            refused("ambiguous_name", message)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_user_is_found_by_id_address_or_name() {
        let users = [
            json!({"accountId": "1", "displayName": "Mia", "emailAddress": "mia@a", "active": true}),
            json!({"accountId": "2", "displayName": "Ann", "active": true}),
            json!({"accountId": "3", "displayName": "Ann", "active": true}),
            json!({"accountId": "4", "displayName": "Old", "active": false}),
        ];
        let hidden = [json!({"accountId": "5", "displayName": "H", "active": true})];
        for (wanted, found, expected) in [
            ("1", &users[..], Ok("1")),
            ("MIA@a", &users[..], Ok("1")),
            ("mia", &users[..], Ok("1")),
            ("Ann", &users[..], Err("ambiguous_name")),
            ("Old", &users[..], Err("user_deactivated")),
            ("Mja", &users[..], Err("no_such_user")),
            ("h@a", &hidden[..], Ok("5")),
            ("hh", &hidden[..], Err("no_such_user")),
        ] {
            let chosen = chosen(Deployment::Cloud, wanted, found);
            let chosen = chosen.as_deref().map_err(|error| error.code);
            assert_eq!(chosen, expected, "{wanted}");
        }
    }
}
