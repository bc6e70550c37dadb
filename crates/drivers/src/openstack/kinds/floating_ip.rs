//! `openstack.floating_ip`.

use async_trait::async_trait;
use serde_json::{Map, Value};
use stateward_domain::field_error::FieldError;
use stateward_domain::kind::OnLost;

use super::kind_meta::{Compare, KindMeta, fixed, mutable};
use super::neutron::NeutronKind;
use super::normalise::{address, normalise_field};
use crate::openstack::client::NamedResource;
use crate::openstack::client::{ApiError, CallClient, Pagination, Request};
use crate::openstack::service::Service;

pub(super) struct FloatingIp;

/// Its status is not compared: it depends on an agent that not every cloud has.
static META: KindMeta = KindMeta {
    name: "openstack.floating_ip",
    summary: "An address outside that leads to a port inside.",
    schema: include_str!("floating_ip.schema.json"),
    service: Service::Network,
    path: "floatingips",
    list: &["floatingips"],
    row: "floatingip",
    rows: "floatingips",
    pagination: Pagination::Links,
    fields: &[
        fixed("floating_network_id", Compare::Source),
        fixed("floating_ip_address", Compare::Exact),
        mutable("port_id", Compare::Exact),
        mutable("fixed_ip_address", Compare::Exact),
        mutable("description", Compare::Exact),
    ],
    computed: &["status", "router_id", "project_id"],
    actions: &[],
    identity: None,
    owner_key: true,
    retry_budget: 10,
    on_lost: OnLost::Ask,
};

#[async_trait]
impl NeutronKind for FloatingIp {
    fn meta(&self) -> &'static KindMeta {
        &META
    }

    fn normalise(&self, spec: &mut Map<String, Value>) -> Vec<FieldError> {
        let mut faults = Vec::new();
        normalise_field(spec, "floating_ip_address", address, &mut faults);
        normalise_field(spec, "fixed_ip_address", address, &mut faults);
        faults
    }

    /// A fixed address is valid only together with its port.
    async fn resolve(
        &self,
        client: CallClient<'_>,
        spec: &Value,
        members: &mut Map<String, Value>,
    ) -> Result<(), ApiError> {
        client.resolve_field(members, "floating_network_id", NamedResource::Network).await?;
        if members.contains_key("fixed_ip_address")
            && let Some(port) = spec.get("port_id")
        {
            members.insert("port_id".to_owned(), port.clone());
        }
        Ok(())
    }

    /// Neutron associates the address anew with each change: if its port has several addresses, a change without the
    /// one that it leads to is refused.
    async fn complete_change(
        &self,
        client: CallClient<'_>,
        id: &str,
        spec: &Value,
        members: &mut Map<String, Value>,
    ) -> Result<(), ApiError> {
        let port = members.get("port_id").cloned();
        let mut add = |name: &str, value: &Value| {
            if value.is_string() && !members.contains_key(name) {
                members.insert(name.to_owned(), value.clone());
            }
        };
        match port {
            Some(Value::Null) => {}
            Some(_) => add("fixed_ip_address", &spec["fixed_ip_address"]),
            None => {
                let reply = client.send(Request::get(META.service, &[META.path, id])).await?;
                let row = &reply.body[META.row];
                add("fixed_ip_address", &row["fixed_ip_address"]);
                add("port_id", &row["port_id"]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use stateward_domain::id::{EntityId, ExternalId, Incarnation, KindName, OwnerKey};
    use stateward_domain::ports::driver::ObjectRef;
    use uuid::Uuid;

    use super::super::neutron::Neutron;
    use super::super::{Change, Kind};
    use super::*;
    use crate::openstack::testing::{Answer, Setup, stub};

    /// What is sent to change `field`, while the address leads to port `p`.
    async fn sent(spec: Value, field: &str) -> Value {
        let row = json!({"id": "f", "port_id": "p", "fixed_ip_address": "10.0.0.5"});
        let observed = row.clone();
        let stub = stub(move |_, _| Answer::json(200, json!({ "floatingip": row }))).await;
        let setup = Setup::new(&stub.url);
        let target = ObjectRef {
            kind: KindName::from(META.name),
            external_id: ExternalId("f".to_owned()),
            owner_key: OwnerKey::new(EntityId(Uuid::from_u128(7)), Incarnation(1)),
        };
        let fields = [field.to_owned()];
        let change = Change { target: &target, spec: &spec, fields: &fields, observed: &observed };
        Neutron(FloatingIp).update_fields(setup.client(), &change).await.unwrap();
        let mut asked = stub.asked("/").into_iter();
        asked.find(|asked| asked.method == "PUT").unwrap().body["floatingip"].clone()
    }

    #[tokio::test]
    async fn each_change_names_the_address_that_it_leads_to() {
        let there = json!({"description": "d", "port_id": "p", "fixed_ip_address": "10.0.0.5"});
        assert_eq!(sent(there.clone(), "/description").await, there);
        let unmanaged = json!({"description": "d"});
        assert_eq!(sent(unmanaged, "/description").await, there, "its port is not managed");
        let moved = json!({"port_id": "q", "fixed_ip_address": "10.0.0.5"});
        assert_eq!(sent(moved.clone(), "/port_id").await, moved);
        let other = json!({"port_id": "q"});
        assert_eq!(sent(other.clone(), "/port_id").await, other, "the cloud chooses");
        let none = json!({"port_id": null});
        assert_eq!(sent(none.clone(), "/port_id").await, none);
    }
}
