//! `openstack.security_group`, with its rules as a set.

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use stateward_domain::field_error::FieldError;
use stateward_domain::json_pointer;
use stateward_domain::kind::OnLost;
use std::collections::BTreeSet;

use super::Blocker;
use super::kind_meta::{Compare, KindMeta, mutable, set};
use super::neutron::{NeutronKind, attributes, owner, ports};
use super::normalise::field_error;
use super::security_rules::{RULES, SELF, normalised, rest, without_description};
use super::unknown_members::{Part, not_understood};
use crate::openstack::client::{ApiError, CallClient, ErrorKind, Pagination, Request};
use crate::openstack::service::Service;

pub(super) struct SecurityGroup;

static META: KindMeta = KindMeta {
    name: "openstack.security_group",
    summary: "A set of rules for the traffic of ports.",
    schema: include_str!("security_group.schema.json"),
    service: Service::Network,
    path: "security-groups",
    list: &["security-groups"],
    row: "security_group",
    rows: "security_groups",
    pagination: Pagination::Links,
    fields: &[
        mutable("name", Compare::Exact),
        mutable("description", Compare::Exact),
        mutable("stateful", Compare::Exact),
        mutable("rules", Compare::By(same_rules)),
    ],
    computed: &["id", "project_id"],
    actions: &[],
    identity: None,
    owner_key: true,
    retry_budget: 10,
    on_lost: OnLost::Ask,
};

/// A rule that refers to the group's own id means the group itself.
fn same_rules(observed: &Value, wanted: &Value) -> bool {
    let own = observed["id"].as_str();
    let wanted = wanted.as_array().into_iter().flatten();
    let wanted: BTreeSet<_> =
        wanted.filter_map(|rule| Some(normalised(rule, own)?.to_string())).collect();
    set(&observed["rules"]) == wanted
}

#[async_trait]
impl NeutronKind for SecurityGroup {
    fn meta(&self) -> &'static KindMeta {
        &META
    }

    fn parts(&self) -> &'static [Part] {
        std::slice::from_ref(&RULES)
    }

    fn normalise(&self, spec: &mut Map<String, Value>) -> Vec<FieldError> {
        let Some(Value::Array(rules)) = spec.get_mut("rules") else { return Vec::new() };
        let mut faults = Vec::new();
        for (index, rule) in rules.iter_mut().enumerate() {
            if let Some(normal) = normalised(rule, None) {
                *rule = normal;
            } else {
                for name in RULES.unknown(rule) {
                    let pointer = format!("/rules/{index}/{}", json_pointer::escape(&name));
                    faults.push(field_error(&pointer, "is not understood"));
                }
            }
        }
        rules.sort_by_key(Value::to_string);
        rules.dedup();
        faults
    }

    fn attributes(&self, row: &Value) -> Map<String, Value> {
        let mut attributes = attributes(&META, row);
        let rules = row["security_group_rules"].as_array().into_iter().flatten();
        let mut rules: Vec<_> =
            rules.filter_map(|rule| normalised(rule, row["id"].as_str())).collect();
        rules.sort_by_key(Value::to_string);
        attributes.insert("rules".to_owned(), Value::Array(rules));
        attributes
    }

    /// The project's default group cannot be deleted or renamed.
    fn is_top_level(&self, row: &Value) -> bool {
        row["name"] != "default"
    }

    fn separate_fields(&self) -> &'static [&'static str] {
        &["rules"]
    }

    /// Adds new rules before it removes old ones, so that traffic that is allowed before and after is never
    /// interrupted. Rules that differ in their description alone are removed first, because Neutron does not accept
    /// both. Rules that are not understood stay, and what is left of one without the unknown part is not added.
    async fn update_separate_fields(
        &self,
        client: CallClient<'_>,
        id: &str,
        wanted: &Map<String, Value>,
        _: &Value,
    ) -> Result<(), ApiError> {
        let reply = client.send(Request::get(Service::Network, &["security-groups", id])).await?;
        let rows = reply.body["security_group"]["security_group_rules"].as_array().cloned();
        let rows = rows.unwrap_or_default();
        let there: Vec<(Value, String)> = rows
            .iter()
            .filter_map(|row| Some((normalised(row, Some(id))?, row["id"].as_str()?.to_owned())))
            .collect();
        let wanted: Vec<Value> = wanted["rules"].as_array().cloned().unwrap_or_default();
        let wanted: Vec<Value> =
            wanted.iter().filter_map(|rule| normalised(rule, Some(id))).collect();
        let missing: Vec<_> =
            wanted.iter().filter(|rule| there.iter().all(|(known, _)| known != *rule)).collect();
        let widened = |row: &&Value| {
            normalised(row, Some(id)).is_none()
                && rest(row, Some(id)).is_some_and(|rest| {
                    let rest = without_description(&rest);
                    missing.iter().any(|rule| without_description(rule) == rest)
                })
        };
        let widened: Vec<_> = rows.iter().filter(widened).collect();
        if !widened.is_empty() {
            return Err(not_understood(&RULES, &widened));
        }
        let replaced: BTreeSet<_> = missing.iter().map(|rule| without_description(rule)).collect();
        let (first, last): (Vec<_>, Vec<_>) = there
            .iter()
            .filter(|(rule, _)| !wanted.contains(rule))
            .partition(|(rule, _)| replaced.contains(&without_description(rule)));
        remove(client, &first).await?;
        add(client, id, &missing).await?;
        remove(client, &last).await
    }

    async fn blocker(&self, client: CallClient<'_>, id: &str) -> Result<Option<Blocker>, ApiError> {
        Ok(Blocker::of("port", &ports(client, &[("security_groups", id)]).await?, owner))
    }
}

/// Adds all rules or none.
async fn add(client: CallClient<'_>, id: &str, rules: &[&Value]) -> Result<(), ApiError> {
    if rules.is_empty() {
        return Ok(());
    }
    let response = rules.iter().map(|rule| {
        let mut body = (*rule).clone();
        body["security_group_id"] = Value::from(id);
        if body["remote_group_id"] == SELF {
            body["remote_group_id"] = Value::from(id);
        }
        body
    });
    let body = json!({"security_group_rules": response.collect::<Vec<_>>()});
    let sent = client.send(Request::post(Service::Network, &["security-group-rules"], body)).await;
    match sent {
        // A concurrent change was faster; the next observation shows what is still missing.
        Err(error) if error.kind == ErrorKind::Exists => Err(error.with_kind(ErrorKind::Conflict)),
        outcome => outcome.map(drop),
    }
}

async fn remove(client: CallClient<'_>, rules: &[&(Value, String)]) -> Result<(), ApiError> {
    for (_, id) in rules {
        let request = Request::delete(Service::Network, &["security-group-rules", id]);
        match client.send(request).await {
            Err(error) if error.kind != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
