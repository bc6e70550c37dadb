//! What a state file of Terraform or `OpenTofu` (version 4) holds of the kinds that we have.

use std::collections::BTreeMap;

use serde_json::Value;

/// Types of resources there, and kinds here. The id of each is our external id.
const KINDS: &[(&str, &str)] = &[
    ("openstack_blockstorage_volume_v2", "openstack.volume"),
    ("openstack_blockstorage_volume_v3", "openstack.volume"),
    ("openstack_compute_instance_v2", "openstack.server"),
    ("openstack_compute_keypair_v2", "openstack.keypair"),
    ("openstack_compute_servergroup_v2", "openstack.server_group"),
    ("openstack_identity_project_v3", "openstack.project"),
    ("openstack_images_image_v2", "openstack.image"),
    ("openstack_networking_floatingip_v2", "openstack.floating_ip"),
    ("openstack_networking_network_v2", "openstack.network"),
    ("openstack_networking_port_v2", "openstack.port"),
    ("openstack_networking_router_v2", "openstack.router"),
    ("openstack_networking_secgroup_v2", "openstack.security_group"),
    ("openstack_networking_subnet_v2", "openstack.subnet"),
];

/// Kind and external id of each resource that we have a kind for, with its address there as a name.
///
/// # Errors
/// It is no state file, or one of another version.
pub(super) fn resources(state: &Value) -> Result<BTreeMap<(String, String), String>, &'static str> {
    if state["version"] != 4 {
        return Err("is no state file of version 4");
    }
    let resources = state["resources"].as_array().ok_or("has no resources")?;
    let mut found = BTreeMap::new();
    for resource in resources.iter().filter(|resource| resource["mode"] == "managed") {
        let Some((_, kind)) = KINDS.iter().find(|(theirs, _)| resource["type"] == *theirs) else {
            continue;
        };
        for instance in resource["instances"].as_array().into_iter().flatten() {
            if let Some(id) = instance["attributes"]["id"].as_str() {
                found.insert(((*kind).to_owned(), id.to_owned()), name(resource, instance));
            }
        }
    }
    Ok(found)
}

/// `module.name.index`, without what says nothing.
fn name(resource: &Value, instance: &Value) -> String {
    let module = resource["module"].as_str().unwrap_or_default().replace("module.", "");
    let index = match &instance["index_key"] {
        Value::String(key) => key.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    };
    let own = resource["name"].as_str().unwrap_or_default();
    let parts = [module.as_str(), own, index.as_str()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_we_have_kinds_for_is_found_by_its_id() {
        let state = json!({"version": 4, "resources": [
            {
                "mode": "managed", "type": "openstack_networking_network_v2", "name": "blue",
                "module": "module.net", "instances": [{"attributes": {"id": "n1"}}],
            },
            {
                "mode": "managed", "type": "openstack_compute_instance_v2", "name": "web",
                "instances": [
                    {"index_key": 0, "attributes": {"id": "s0"}},
                    {"index_key": "b", "attributes": {"id": "s1"}},
                    {"index_key": "broken", "attributes": {}},
                ],
            },
            {
                "mode": "data", "type": "openstack_networking_network_v2", "name": "public",
                "instances": [{"attributes": {"id": "n9"}}],
            },
            {
                "mode": "managed", "type": "random_pet", "name": "dog",
                "instances": [{"attributes": {"id": "rex"}}],
            },
        ]});
        let found = resources(&state).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|((kind, id), name)| (kind.as_str(), id.as_str(), name.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                ("openstack.network", "n1", "net.blue"),
                ("openstack.server", "s0", "web.0"),
                ("openstack.server", "s1", "web.b"),
            ]
        );
    }

    #[test]
    fn every_kind_of_the_table_is_one_of_ours() {
        let ours: Vec<_> =
            stateward_drivers::kinds().into_iter().map(|kind| kind.name.to_string()).collect();
        let stranger = KINDS.iter().find(|(_, kind)| ours.iter().all(|known| known != kind));
        assert_eq!(stranger, None);
    }

    #[test]
    fn what_is_no_state_is_refused() {
        for state in [json!({}), json!({"version": 3, "resources": []}), json!({"version": 4})] {
            assert!(resources(&state).is_err(), "{state}");
        }
    }
}
