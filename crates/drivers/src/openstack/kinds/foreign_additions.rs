//! What others plugged into an object of ours: it is reported, and left.
//!
//! Invariant: an entry is only ever removed if the desired state that was applied before named it, or left the whole list
//! to the cloud, which fills it for us. An entry that neither that nor the present one names was plugged in by another
//! tool or a person, as was a NIC that was neither made with its server nor plugged in by us, whatever network is named. Of a list that the cloud leaves empty, the present desired state may be the first to name it.

use serde_json::Value;

use crate::openstack::name_resolution::is_uuid;

/// A list of things that are plugged into objects of a kind.
struct PluggedList {
    kind: &'static str,
    field: &'static str,
    /// Whether an observed entry is what a desired one asks for.
    fits: fn(&Value, &Value) -> bool,
    /// Whether an entry that is not asked for was plugged in at all, rather than added by the cloud itself.
    is_plugged: fn(&Value) -> bool,
    /// Whether the cloud fills the list of an object whose desired state does not name it.
    chosen_by_cloud: bool,
    /// The entries that a desired state names in other fields.
    named_elsewhere: fn(&Value) -> Vec<Value>,
    /// The attribute that lists the ports of the entries that are certainly ours.
    own: Option<&'static str>,
}

static LISTS: &[PluggedList] = &[
    PluggedList {
        kind: "openstack.server",
        field: "networks",
        fits: nic_fits,
        is_plugged: |_| true,
        chosen_by_cloud: true,
        named_elsewhere: |_| Vec::new(),
        own: Some("own_nics"),
    },
    PluggedList {
        kind: "openstack.server",
        field: "volumes",
        fits: |seen, wanted| seen == wanted,
        is_plugged: |_| true,
        chosen_by_cloud: false,
        named_elsewhere: block_devices,
        own: None,
    },
    PluggedList {
        kind: "openstack.router",
        field: "interfaces",
        fits: interface_fits,
        is_plugged: |_| true,
        chosen_by_cloud: false,
        named_elsewhere: |_| Vec::new(),
        own: None,
    },
    PluggedList {
        kind: "openstack.port",
        field: "fixed_ips",
        fits: address_fits,
        // Neutron adds automatic IPv6 addresses, and refuses requests for them.
        is_plugged: |seen| seen["ip_address"].as_str().is_some_and(|ip| !ip.contains(':')),
        chosen_by_cloud: true,
        named_elsewhere: |_| Vec::new(),
        own: None,
    },
];

/// Whether an observed NIC is what a desired entry asks for. A network's name was resolved when the NIC was made, so any
/// network may be the one.
pub(super) fn nic_fits(seen: &Value, wanted: &Value) -> bool {
    match (wanted["port"].as_str(), wanted["uuid"].as_str()) {
        (Some(port), _) => seen["port"] == port,
        (None, Some(network)) if is_uuid(network) => seen["uuid"] == network,
        (None, Some(_)) => true,
        (None, None) => false,
    }
}

fn interface_fits(seen: &Value, wanted: &Value) -> bool {
    match (wanted["subnet_id"].as_str(), wanted["port_id"].as_str()) {
        (Some(subnet), _) => seen["subnet_id"] == subnet,
        (None, Some(port)) => seen["port_id"] == port,
        (None, None) => false,
    }
}

fn address_fits(seen: &Value, wanted: &Value) -> bool {
    let named: Vec<_> =
        ["subnet_id", "ip_address"].into_iter().filter(|name| wanted[*name].is_string()).collect();
    !named.is_empty() && named.iter().all(|name| seen[*name] == wanted[*name])
}

/// The volumes that a server's creation attaches as block devices.
fn block_devices(spec: &Value) -> Vec<Value> {
    let devices = spec["block_device_mapping_v2"].as_array().into_iter().flatten();
    let volumes = devices.filter(|device| device["source_type"] == "volume");
    volumes.map(|device| device["uuid"].clone()).collect()
}

/// `spec` with the additions of others in it; `None` = there are none.
pub(super) fn with_additions(
    kind: &str,
    observed: &Value,
    spec: &Value,
    applied: Option<&Value>,
) -> Option<Value> {
    let mut extended = None;
    for list in LISTS.iter().filter(|list| list.kind == kind) {
        let Some(wanted) = spec.get(list.field).and_then(entries) else { continue };
        let there = observed[list.field].as_array().map(Vec::as_slice).unwrap_or_default();
        let Some(before) = list.before(spec, applied) else { continue };
        let own = list.own.and_then(|own| observed[own].as_array()).map(Vec::as_slice);
        let foreign = list.foreign(there, &wanted, &before, own);
        if !foreign.is_empty() {
            let all = wanted.into_iter().chain(foreign.into_iter().cloned()).collect();
            extended.get_or_insert_with(|| spec.clone())[list.field] = Value::Array(all);
        }
    }
    extended
}

/// The entries that a field asks for; `None` = the cloud chooses.
fn entries(field: &Value) -> Option<Vec<Value>> {
    match field {
        Value::Array(entries) => Some(entries.clone()),
        // Of servers: no NIC at all.
        Value::String(text) if text == "none" => Some(Vec::new()),
        _ => None,
    }
}

impl PluggedList {
    /// The entries that the desired state before asked for, without those that `spec` names elsewhere now; `None` = all
    /// of the list may be ours, because the cloud filled it for us.
    fn before(&self, spec: &Value, applied: Option<&Value>) -> Option<Vec<Value>> {
        let Some(applied) = applied else { return Some(Vec::new()) };
        let mut before = match applied.get(self.field).and_then(entries) {
            None if self.chosen_by_cloud => return None,
            named => named.unwrap_or_default(),
        };
        before.extend((self.named_elsewhere)(applied));
        let still_named = (self.named_elsewhere)(spec);
        before.retain(|entry| !still_named.contains(entry));
        Some(before)
    }

    /// The entries of `there` that neither `wanted` nor `before` asks for. `own` = the ports of those that are certainly
    /// ours; `None` = any may be.
    fn foreign<'v>(
        &self,
        there: &'v [Value],
        wanted: &[Value],
        before: &[Value],
        own: Option<&[Value]>,
    ) -> Vec<&'v Value> {
        let is_own = |seen: &Value| own.is_none_or(|own| own.contains(&seen["port"]));
        let mut rest: Vec<&Value> = there.iter().collect();
        self.take(&mut rest, wanted.to_vec(), is_own, |_| true);
        // What is asked for before and now is one entry.
        let mut dropped = before.to_vec();
        for entry in wanted {
            if let Some(index) = dropped.iter().position(|before| before == entry) {
                dropped.remove(index);
            }
        }
        // What is not ours was not plugged in for an entry that names no port.
        self.take(&mut rest, dropped, is_own, |entry| own.is_none() || entry["port"].is_string());
        rest.retain(|seen| (self.is_plugged)(seen));
        rest
    }

    /// Removes from `there` what each of `entries` asks for, the most specific entries first: what is ours, else what
    /// fits an entry that `takes_any`.
    fn take(
        &self,
        there: &mut Vec<&Value>,
        mut entries: Vec<Value>,
        is_own: impl Fn(&Value) -> bool,
        takes_any: impl Fn(&Value) -> bool,
    ) {
        let specific = |entry: &Value| {
            let named = entry["port"].is_string() || entry["uuid"].as_str().is_some_and(is_uuid);
            (entry["port"].is_string(), named, entry.as_object().map_or(0, serde_json::Map::len))
        };
        entries.sort_by_key(|entry| std::cmp::Reverse(specific(entry)));
        for entry in &entries {
            let fits = |seen: &Value| (self.fits)(seen, entry);
            let any = || there.iter().position(|seen| takes_any(entry) && fits(seen));
            let index = there.iter().position(|seen| is_own(seen) && fits(seen)).or_else(any);
            if let Some(index) = index {
                there.remove(index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const A: &str = "aaaaaaaa-0000-4000-8000-000000000000";
    const B: &str = "bbbbbbbb-0000-4000-8000-000000000000";

    /// The list after it was extended; `Null` = nothing was added by others.
    fn extended(kind: &str, field: &str, there: Value, wanted: Value, before: Value) -> Value {
        let observed = json!({ field: there });
        let applied = (!before.is_null()).then(|| json!({ field: before }));
        let spec = json!({ field: wanted, "name": "x" });
        let extended = with_additions(kind, &observed, &spec, applied.as_ref());
        extended.map_or(Value::Null, |spec| spec[field].clone())
    }

    #[test]
    fn a_nic_that_was_not_asked_for_is_another_s_and_one_that_was_is_ours() {
        let nics = |there: Value, wanted: Value, before: Value| {
            extended("openstack.server", "networks", there, wanted, before)
        };
        let nic = |port: &str, net: &str| json!({"port": port, "uuid": net});
        let (on_a, on_b) = (json!({"uuid": A}), json!({"uuid": B}));
        let two = || json!([nic("p", A), nic("q", B)]);
        let foreign = json!([on_a, nic("q", B)]);
        assert_eq!(nics(two(), json!([on_a]), json!([on_a])), foreign, "plugged in by another");
        assert_eq!(nics(two(), json!([on_a]), Value::Null), foreign, "there when it was adopted");
        assert_eq!(
            nics(two(), json!([on_a]), json!([on_a, on_b])),
            Value::Null,
            "asked for before"
        );
        assert_eq!(nics(two(), json!([on_a]), json!("auto")), Value::Null, "left to the cloud");
        let none = json!([nic("p", A), nic("q", B)]);
        assert_eq!(nics(two(), json!("none"), json!("none")), none);
        assert_eq!(nics(two(), json!("auto"), json!("auto")), Value::Null);
        let same = json!([nic("p", A), nic("q", A)]);
        let second = json!([on_a, nic("q", A)]);
        assert_eq!(nics(same, json!([on_a]), json!([on_a])), second, "another in the same network");
        let by_port = json!([{"port": "q"}]);
        let other = json!([{"port": "q"}, nic("p", A)]);
        assert_eq!(nics(two(), by_port.clone(), by_port), other);
        let unknown = json!([on_a, {"port": {"$ref": "openstack.port/x"}}]);
        assert_eq!(nics(two(), json!([on_a]), unknown), foreign, "a reference without value");
        let named = json!([{"uuid": "a name"}, on_b]);
        assert_eq!(nics(two(), json!([{"uuid": "a name"}]), named), Value::Null);
    }

    #[test]
    fn a_nic_of_another_is_never_unplugged_in_place_of_ours() {
        let nic = |port: &str, net: &str| json!({"port": port, "uuid": net});
        let left = |there: Value, own: Value, wanted: Value, before: Value| {
            let observed = json!({"networks": there, "own_nics": own});
            let (spec, applied) = (json!({"networks": wanted}), json!({"networks": before}));
            with_additions("openstack.server", &observed, &spec, Some(&applied))
                .map_or(Value::Null, |spec| spec["networks"].clone())
        };
        let (on_a, on_b) = (json!({"uuid": A}), json!({"uuid": B}));
        let named = |name: &str| json!({ "uuid": name });
        let (ours, theirs) = (nic("ours", A), nic("theirs", A));
        for there in [json!([ours, theirs]), json!([theirs, ours])] {
            let one = left(there.clone(), json!(["ours"]), json!([]), json!([on_a]));
            assert_eq!(one, json!([theirs]), "taken out, by its network: {there}");
            let one = left(there.clone(), json!(["ours"]), json!([]), json!([named("a")]));
            assert_eq!(one, json!([theirs]), "taken out, by its name: {there}");
            let both = left(there, json!(["ours"]), json!([on_a]), json!([on_a]));
            assert_eq!(both, json!([on_a, theirs]));
        }
        let gone = left(json!([theirs]), json!([]), json!([]), json!([on_a]));
        assert_eq!(gone, json!([theirs]), "ours was unplugged");
        let by_port = left(json!([theirs]), json!([]), json!([]), json!([{"port": "theirs"}]));
        assert_eq!(by_port, Value::Null, "named by its port");
        let there = json!([nic("theirs", B), ours, nic("second", B)]);
        let own = json!(["ours", "second"]);
        let one = left(there, own, json!([on_a]), json!([on_a, on_b]));
        assert_eq!(one, json!([on_a, nic("theirs", B)]), "the older one is another's");
    }

    #[test]
    fn the_first_use_of_a_list_that_the_cloud_leaves_empty_removes_nothing() {
        let before = json!({"name": "x"});
        for (kind, field, there, wanted) in [
            ("openstack.server", "volumes", json!("theirs"), json!("ours")),
            (
                "openstack.router",
                "interfaces",
                json!({"port_id": "p", "subnet_id": "theirs"}),
                json!({"subnet_id": "ours"}),
            ),
        ] {
            let (observed, spec) = (json!({ field: [there] }), json!({ field: [wanted] }));
            for before in [&before, &json!({ field: null })] {
                let left = with_additions(kind, &observed, &spec, Some(before));
                assert_eq!(left, Some(json!({ field: [wanted, there] })), "{kind}: {before}");
            }
        }
    }

    #[test]
    fn a_volume_of_the_creation_s_block_devices_is_ours_and_stays_while_it_is_named() {
        let device = json!({"uuid": "made-with", "source_type": "volume"});
        let image = json!({"uuid": "i", "source_type": "image"});
        let applied = json!({"block_device_mapping_v2": [image, device]});
        let observed = json!({"volumes": ["made-with", "theirs"]});
        let left = |spec: Value| {
            with_additions("openstack.server", &observed, &spec, Some(&applied)).unwrap()["volumes"]
                .clone()
        };
        assert_eq!(left(json!({"volumes": []})), json!(["theirs"]), "no longer named");
        let named = json!({"volumes": [], "block_device_mapping_v2": [device]});
        assert_eq!(left(named), json!(["made-with", "theirs"]));
    }

    #[test]
    fn volumes_interfaces_and_addresses_of_others_are_left_too() {
        let volumes = |wanted: Value, before: Value| {
            extended("openstack.server", "volumes", json!(["a", "b"]), wanted, before)
        };
        assert_eq!(volumes(json!(["a"]), json!(["a"])), json!(["a", "b"]));
        assert_eq!(volumes(json!(["a"]), json!(["a", "b"])), Value::Null);
        let there = json!([{"port_id": "p", "subnet_id": "s"}, {"port_id": "q", "subnet_id": "t"}]);
        let interfaces = |wanted: Value, before: Value| {
            extended("openstack.router", "interfaces", there.clone(), wanted, before)
        };
        let on = |subnet: &str| json!([{"subnet_id": subnet}]);
        let all = json!([{"subnet_id": "s"}, {"port_id": "q", "subnet_id": "t"}]);
        assert_eq!(interfaces(on("s"), on("s")), all);
        assert_eq!(interfaces(on("s"), json!([{"subnet_id": "s"}, {"port_id": "q"}])), Value::Null);
        let there = json!([
            {"subnet_id": "s", "ip_address": "10.0.0.5"},
            {"subnet_id": "s", "ip_address": "10.0.0.9"},
            {"subnet_id": "v", "ip_address": "2001:db8::1"},
        ]);
        let addresses = |wanted: Value, before: Value| {
            extended("openstack.port", "fixed_ips", there.clone(), wanted, before)
        };
        let own = || json!([{"ip_address": "10.0.0.5"}]);
        let both = json!([{"ip_address": "10.0.0.5"}, there[1]]);
        assert_eq!(addresses(own(), own()), both, "without the automatic one");
        assert_eq!(addresses(own(), json!([{"ip_address": "10.0.0.9"}])), Value::Null, "moved");
        let fields = json!({"name": "y"});
        let spec = json!({"fixed_ips": own()});
        let observed = json!({"fixed_ips": there});
        let first = with_additions("openstack.port", &observed, &spec, Some(&fields));
        assert_eq!(first, None, "the cloud had chosen the addresses");
        assert_eq!(with_additions("openstack.volume", &observed, &spec, None), None);
    }
}
