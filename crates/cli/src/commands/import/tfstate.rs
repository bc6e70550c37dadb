//! Reads the state file of Terraform or `OpenTofu` (version 4).

use std::collections::BTreeMap;

use serde_json::Value;

use super::omitted::Omitted;

/// Terraform's resource types and our kinds. The resource's id is our external id.
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

/// Resource types that are no objects of their own here, and the kind whose field has them.
const PARTS: &[(&str, &str)] = &[
    ("openstack_compute_floatingip_associate_v2", "port_id of openstack.floating_ip"),
    ("openstack_compute_interface_attach_v2", "networks of openstack.server"),
    ("openstack_compute_volume_attach_v2", "volumes of openstack.server"),
    ("openstack_networking_floatingip_associate_v2", "port_id of openstack.floating_ip"),
    ("openstack_networking_port_secgroup_associate_v2", "security_groups of openstack.port"),
    ("openstack_networking_router_interface_v2", "interfaces of openstack.router"),
    ("openstack_networking_router_route_v2", "routes of openstack.router"),
    ("openstack_networking_secgroup_rule_v2", "rules of openstack.security_group"),
    ("openstack_networking_subnet_route_v2", "host_routes of openstack.subnet"),
];

/// The resources of a state file.
#[derive(Debug, Default)]
pub(super) struct Resources {
    /// By kind and external id.
    pub(super) found: BTreeMap<(String, String), Resource>,
    /// Resources that cannot be imported, by address.
    pub(super) omitted: Vec<Omitted>,
}

/// A resource with a kind of ours.
#[derive(Debug)]
pub(super) struct Resource {
    /// Its name here.
    pub(super) name: String,
    /// Its address in Terraform.
    pub(super) address: String,
}

/// All resources of a state file: those with a kind of ours, and the omitted ones.
///
/// # Errors
/// It is no state file, or one of another version.
pub(super) fn resources(state: &Value) -> Result<Resources, &'static str> {
    if state["version"] != 4 {
        return Err("is no state file of version 4");
    }
    let resources = state["resources"].as_array().ok_or("has no resources")?;
    let mut all = Resources::default();
    for resource in resources {
        for instance in resource["instances"].as_array().into_iter().flatten() {
            let address = address(resource, instance);
            match object(resource, instance) {
                Err(why) => all.omitted.push(Omitted::new(address, why)),
                Ok(key) => {
                    let resource = Resource { name: name(resource, instance), address };
                    if let Some(earlier) = all.found.get(&key) {
                        let why = format!("it is the object of {}", earlier.address);
                        all.omitted.push(Omitted::new(resource.address, why));
                    } else {
                        all.found.insert(key, resource);
                    }
                }
            }
        }
    }
    Ok(all)
}

/// Kind and external id of an instance, or why it is omitted.
fn object(resource: &Value, instance: &Value) -> Result<(String, String), String> {
    let theirs = resource["type"].as_str().unwrap_or_default();
    if resource["mode"] != "managed" {
        return Err("it is a data source, which Terraform only reads".to_owned());
    }
    if let Some(key) = instance["deposed"].as_str().filter(|key| !key.is_empty()) {
        return Err(format!(
            "it is deposed ({key}): another object took its place, and Terraform still has to delete it"
        ));
    }
    let named = |table: &[(&'static str, &'static str)]| {
        table.iter().find(|(known, _)| *known == theirs).map(|(_, ours)| *ours)
    };
    if let Some(field) = named(PARTS) {
        return Err(format!("it is no object of its own here, but in {field}"));
    }
    let kind = named(KINDS).ok_or_else(|| format!("there is no kind here for {theirs}"))?;
    match instance["attributes"]["id"].as_str().filter(|id| !id.is_empty()) {
        Some(id) => Ok((kind.to_owned(), id.to_owned())),
        None => Err("it has no id".to_owned()),
    }
}

/// `module.net.openstack_networking_network_v2.blue["a"]`, as Terraform writes it.
fn address(resource: &Value, instance: &Value) -> String {
    let text = |member: &str| resource[member].as_str().filter(|text| !text.is_empty());
    let data = (resource["mode"] == "data").then_some("data");
    let parts = [text("module"), data, text("type"), text("name")];
    let whole = parts.into_iter().flatten().collect::<Vec<_>>().join(".");
    match &instance["index_key"] {
        Value::Null => whole,
        key => format!("{whole}[{key}]"),
    }
}

/// `module.name.index`, without empty parts.
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
                    {"index_key": 0, "deposed": "00000001", "attributes": {"id": "s9"}},
                    {"index_key": "again", "attributes": {"id": "s1"}},
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
            {
                "mode": "managed", "type": "openstack_networking_secgroup_rule_v2", "name": "ssh",
                "instances": [{"attributes": {"id": "r1"}}],
            },
        ]});
        let found = resources(&state).unwrap();
        let omitted: Vec<_> = found.omitted.iter().map(Omitted::line).collect();
        let server = "openstack_compute_instance_v2.web";
        assert_eq!(
            omitted,
            [
                format!("{server}[\"broken\"]: it has no id"),
                format!("{server}[0]: it is deposed (00000001): another object took its place, and Terraform still has to delete it"),
                format!("{server}[\"again\"]: it is the object of {server}[\"b\"]"),
                "data.openstack_networking_network_v2.public: it is a data source, which Terraform only reads".to_owned(),
                "random_pet.dog: there is no kind here for random_pet".to_owned(),
                "openstack_networking_secgroup_rule_v2.ssh: it is no object of its own here, but in rules of openstack.security_group".to_owned(),
            ]
        );
        let found: Vec<_> = found
            .found
            .iter()
            .map(|((kind, id), resource)| (kind.as_str(), id.as_str(), resource.name.as_str()))
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
