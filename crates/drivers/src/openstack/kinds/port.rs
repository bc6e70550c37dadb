//! `openstack.port`.

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use stateward_domain::field_error::FieldError;
use stateward_domain::kind::OnLost;
use std::collections::BTreeSet;

use super::kind_meta::{Compare, KindMeta, fixed, mutable};
use super::neutron::NeutronKind;
use super::normalise::{address, normalise_field, normalise_list_fields};
use super::unknown_members::Part;
use crate::openstack::client::NamedResource;
use crate::openstack::client::{ApiError, CallClient, Pagination};
use crate::openstack::service::Service;

pub(super) struct Port;

static META: KindMeta = KindMeta {
    name: "openstack.port",
    summary: "A connection point of a network: addresses, security groups, and whatever is plugged in.",
    schema: include_str!("port.schema.json"),
    service: Service::Network,
    path: "ports",
    list: &["ports"],
    row: "port",
    rows: "ports",
    pagination: Pagination::Links,
    fields: &[
        fixed("network_id", Compare::Source),
        fixed("mac_address", Compare::Exact),
        mutable("name", Compare::Exact),
        mutable("description", Compare::Exact),
        mutable("admin_state_up", Compare::Exact),
        mutable("fixed_ips", Compare::By(same_addresses)),
        mutable("security_groups", Compare::Set),
        mutable("allowed_address_pairs", Compare::By(same_pairs)),
        mutable("port_security_enabled", Compare::Exact),
        mutable("binding:vnic_type", Compare::Exact),
    ],
    computed: &["status", "device_id", "device_owner", "project_id"],
    actions: &[],
    identity: None,
    owner_key: true,
    retry_budget: 10,
    on_lost: OnLost::Ask,
};

static PARTS: &[Part] = &[
    Part::whole("fixed_ips", &["subnet_id", "ip_address"]),
    Part::whole("allowed_address_pairs", &["ip_address", "mac_address"]),
];

/// Whether each wanted address matches one of the observed, by the members that it names. Neutron adds automatic IPv6
/// addresses, so additional ones of these are no difference.
fn same_addresses(observed: &Value, wanted: &Value) -> bool {
    let mut there = observed["fixed_ips"].as_array().cloned().unwrap_or_default();
    let mut wanted: Vec<_> = wanted.as_array().into_iter().flatten().collect();
    // The most specific entries are matched first.
    wanted.sort_by_key(|entry| std::cmp::Reverse(entry.as_object().map_or(0, Map::len)));
    for entry in wanted {
        let members = entry.as_object().into_iter().flatten().collect::<Vec<_>>();
        let fits =
            |seen: &Value| members.iter().all(|(name, value)| seen[name.as_str()] == **value);
        match there.iter().position(fits) {
            Some(index) => drop(there.remove(index)),
            None => return false,
        }
    }
    there.iter().all(|extra| extra["ip_address"].as_str().is_some_and(|ip| ip.contains(':')))
}

/// A pair without a MAC address uses the port's.
fn same_pairs(observed: &Value, wanted: &Value) -> bool {
    let own = observed["mac_address"].as_str().unwrap_or_default();
    let pairs = |list: &Value| -> BTreeSet<(String, String)> {
        let pairs = list.as_array().into_iter().flatten();
        let text = |pair: &Value, name: &str| pair[name].as_str().map(str::to_lowercase);
        pairs
            .map(|pair| {
                let mac = text(pair, "mac_address").unwrap_or_else(|| own.to_lowercase());
                (text(pair, "ip_address").unwrap_or_default(), mac)
            })
            .collect()
    };
    pairs(&observed["allowed_address_pairs"]) == pairs(wanted)
}

#[async_trait]
impl NeutronKind for Port {
    fn meta(&self) -> &'static KindMeta {
        &META
    }

    fn parts(&self) -> &'static [Part] {
        PARTS
    }

    fn shared_lists(&self) -> &'static [&'static str] {
        &["fixed_ips"]
    }

    fn normalise(&self, spec: &mut Map<String, Value>) -> Vec<FieldError> {
        let mut faults = Vec::new();
        normalise_list_fields(spec, "fixed_ips", "ip_address", address, &mut faults);
        normalise_field(spec, "mac_address", |mac| Some(mac.to_lowercase()), &mut faults);
        faults
    }

    /// Ports that a service makes and deletes with its own objects (routers, DHCP, floating IPs, load balancers) are
    /// parts of these. All others are made by users, also if they are in use: by a server, a trunk, bare metal.
    fn is_top_level(&self, row: &Value) -> bool {
        let owner = row["device_owner"].as_str().unwrap_or_default().to_lowercase();
        !["network:", "neutron:", "octavia"].iter().any(|service| owner.starts_with(service))
    }

    /// Port security changes only together with groups and pairs.
    async fn resolve(
        &self,
        client: CallClient<'_>,
        spec: &Value,
        members: &mut Map<String, Value>,
    ) -> Result<(), ApiError> {
        client.resolve_field(members, "network_id", NamedResource::Network).await?;
        let security = members.get("port_security_enabled").and_then(Value::as_bool);
        for list in ["security_groups", "allowed_address_pairs"] {
            match security {
                Some(false) => drop(members.insert(list.to_owned(), json!([]))),
                // They were removed when port security was disabled.
                Some(true) => {
                    if let Some(wanted) = spec.get(list) {
                        members.insert(list.to_owned(), wanted.clone());
                    }
                }
                None => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_compared_by_what_was_asked_for() {
        let seen = json!({"fixed_ips": [
            {"subnet_id": "a", "ip_address": "10.0.0.5"},
            {"subnet_id": "b", "ip_address": "2001:db8::f816:3eff:fe00:1"},
        ]});
        for same in [
            json!([{"subnet_id": "a"}]),
            json!([{"ip_address": "10.0.0.5"}]),
            json!([{"subnet_id": "b"}, {"subnet_id": "a", "ip_address": "10.0.0.5"}]),
        ] {
            assert!(same_addresses(&seen, &same), "{same}");
        }
        for other in [
            json!([]),
            json!([{"subnet_id": "b"}]),
            json!([{"ip_address": "10.0.0.6"}]),
            json!([{"subnet_id": "a"}, {"subnet_id": "a"}]),
        ] {
            assert!(!same_addresses(&seen, &other), "{other}");
        }
    }

    #[test]
    fn a_pair_without_mac_address_has_the_port_s() {
        let seen = json!({
            "mac_address": "fa:16:3e:00:00:01",
            "allowed_address_pairs": [{"ip_address": "10.0.0.9", "mac_address": "FA:16:3e:00:00:01"}],
        });
        assert!(same_pairs(&seen, &json!([{"ip_address": "10.0.0.9"}])));
        assert!(!same_pairs(&seen, &json!([{"ip_address": "10.0.0.8"}])));
        assert!(!same_pairs(&seen, &json!([])));
    }
}
