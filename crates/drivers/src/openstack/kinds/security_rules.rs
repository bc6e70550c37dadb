//! Canonical form of security group rules: Neutron accepts several spellings of one rule, and then reports that it
//! exists already.

use serde_json::{Map, Value};

use super::normalise::prefix;
use super::unknown_members::{Part, Written};

/// Stands for the group's own id, which is unknown before it is created.
pub(super) const SELF: &str = "self";

/// Neutron's names of protocol numbers.
const PROTOCOLS: &[(u64, &str)] = &[
    (1, "icmp"),
    (2, "igmp"),
    (4, "ipip"),
    (6, "tcp"),
    (8, "egp"),
    (17, "udp"),
    (33, "dccp"),
    (41, "ipv6-encap"),
    (43, "ipv6-route"),
    (44, "ipv6-frag"),
    (46, "rsvp"),
    (47, "gre"),
    (50, "esp"),
    (51, "ah"),
    (58, "ipv6-icmp"),
    (59, "ipv6-nonxt"),
    (60, "ipv6-opts"),
    (89, "ospf"),
    (112, "vrrp"),
    (113, "pgm"),
    (132, "sctp"),
    (136, "udplite"),
];

/// The rules of a group. Each is added and removed on its own.
pub(super) static RULES: Part = Part {
    field: "rules",
    member: "security_group_rules",
    known: &[
        "direction",
        "ethertype",
        "description",
        "protocol",
        "port_range_min",
        "port_range_max",
        "remote_ip_prefix",
        "remote_group_id",
    ],
    bookkeeping: &[
        "id",
        "project_id",
        "tenant_id",
        "security_group_id",
        "standard_attr_id",
        "created_at",
        "updated_at",
        "revision_number",
        "tags",
        // The same as `remote_ip_prefix`.
        "normalized_cidr",
        // Derived from the group.
        "belongs_to_default_sg",
    ],
    strange,
    written: Written::ByEntry,
};

/// The members of a rule with a value that means nothing here. To read one as "any" would widen the rule.
fn strange(rule: &Value) -> Vec<&'static str> {
    let one_of = |name: &str, known: [&str; 2]| {
        is_blank(&rule[name])
            || rule[name]
                .as_str()
                .is_some_and(|text| known.iter().any(|known| text.eq_ignore_ascii_case(known)))
    };
    let numeric = |name: &str| is_blank(&rule[name]) || number(&rule[name]).is_some();
    let text = |name: &str| is_blank(&rule[name]) || rule[name].is_string();
    let remote = &rule["remote_ip_prefix"];
    let understood = [
        ("direction", one_of("direction", ["ingress", "egress"])),
        ("ethertype", one_of("ethertype", ["IPv4", "IPv6"])),
        ("description", text("description")),
        ("protocol", text("protocol") || number(&rule["protocol"]).is_some()),
        ("port_range_min", numeric("port_range_min")),
        ("port_range_max", numeric("port_range_max")),
        ("remote_ip_prefix", is_blank(remote) || remote.as_str().and_then(prefix).is_some()),
        ("remote_group_id", text("remote_group_id")),
    ];
    understood.into_iter().filter(|(_, fine)| !fine).map(|(name, _)| name).collect()
}

fn is_blank(value: &Value) -> bool {
    value.is_null() || value == ""
}

/// The known members of a rule that is not understood: what is left of it must not be made as a rule.
pub(super) fn rest(rule: &Value, own: Option<&str>) -> Option<Value> {
    let mut rest = rule.as_object().cloned().unwrap_or_default();
    let strange = strange(rule);
    rest.retain(|name, _| {
        RULES.known.contains(&name.as_str()) && !strange.contains(&name.as_str())
    });
    normalised(&Value::Object(rest), own)
}

/// The canonical form of a rule; `own` is the id of its group, if known. Values that mean "any" are left out. `None` =
/// a part of it is not understood.
pub(super) fn normalised(rule: &Value, own: Option<&str>) -> Option<Value> {
    if !RULES.unknown(rule).is_empty() {
        return None;
    }
    let text = |name: &str| rule[name].as_str().filter(|text| !text.is_empty());
    let mut normal = Map::new();
    let mut put = |name: &str, value: Value| normal.insert(name.to_owned(), value);
    put("direction", Value::from(text("direction").unwrap_or("ingress").to_lowercase()));
    let v6 = text("ethertype").is_some_and(|text| text.eq_ignore_ascii_case("IPv6"));
    put("ethertype", Value::from(if v6 { "IPv6" } else { "IPv4" }));
    put("description", Value::from(text("description").unwrap_or_default()));
    let protocol = protocol(&rule["protocol"], v6);
    let (least, most) = (number(&rule["port_range_min"]), number(&rule["port_range_max"]));
    let ported = matches!(protocol.as_deref(), Some("tcp" | "udp"));
    if !(ported && least == Some(1) && most == Some(65_535)) {
        least.map(|least| put("port_range_min", Value::from(least)));
        most.map(|most| put("port_range_max", Value::from(most)));
    }
    protocol.map(|protocol| put("protocol", Value::from(protocol)));
    if let Some(remote) = text("remote_ip_prefix") {
        let remote = prefix(remote)?;
        if !remote.ends_with("/0") {
            put("remote_ip_prefix", Value::from(remote));
        }
    }
    if let Some(group) = text("remote_group_id") {
        let group = if own == Some(group) { SELF } else { group };
        put("remote_group_id", Value::from(group));
    }
    Some(Value::Object(normal))
}

/// The rule without its description: Neutron does not accept two rules that are equal in this.
pub(super) fn without_description(rule: &Value) -> String {
    let mut rule = rule.clone();
    if let Value::Object(members) = &mut rule {
        members.remove("description");
    }
    rule.to_string()
}

fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn protocol(value: &Value, v6: bool) -> Option<String> {
    let name = match number(value) {
        Some(number) => {
            let known = PROTOCOLS.iter().find(|(known, _)| *known == number);
            known.map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
        }
        None => value.as_str().filter(|text| !text.is_empty())?.to_lowercase(),
    };
    match name.as_str() {
        "any" => None,
        "icmp" | "icmpv6" if v6 => Some("ipv6-icmp".to_owned()),
        "icmpv6" => Some("ipv6-icmp".to_owned()),
        _ => Some(name),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_neutron_takes_for_the_same_is_the_same() {
        let same = [
            (json!({"protocol": "TCP"}), json!({"protocol": 6, "direction": "INGRESS"})),
            (
                json!({"protocol": "tcp"}),
                json!({"protocol": "6", "port_range_min": 1, "port_range_max": "65535"}),
            ),
            (json!({"protocol": null}), json!({"remote_ip_prefix": "0.0.0.0/0"})),
            (
                json!({"ethertype": "IPv6", "protocol": "icmp"}),
                json!({"ethertype": "ipv6", "protocol": 58, "remote_ip_prefix": "::/0"}),
            ),
            (
                json!({"remote_ip_prefix": "10.0.0.7/24", "description": null}),
                json!({"remote_ip_prefix": "10.0.0.0/24", "id": "x"}),
            ),
            (json!({"remote_ip_prefix": "10.0.0.7"}), json!({"remote_ip_prefix": "10.0.0.7/32"})),
            (json!({"remote_group_id": "own"}), json!({"remote_group_id": "self"})),
        ];
        for (one, other) in same {
            assert_eq!(
                normalised(&one, Some("own")),
                normalised(&other, Some("own")),
                "{one} {other}"
            );
        }
        let ports = json!({"protocol": "tcp", "port_range_min": 22, "port_range_max": 22});
        assert_ne!(normalised(&ports, None), normalised(&json!({"protocol": "tcp"}), None));
        assert_eq!(normalised(&json!({"remote_ip_prefix": "x"}), None), None);
    }

    #[test]
    fn rules_that_differ_in_their_description_alone_are_one_to_neutron() {
        let rule = |text: &str| {
            normalised(&json!({"protocol": "tcp", "description": text}), None).unwrap()
        };
        assert_ne!(rule("a"), rule("b"));
        assert_eq!(without_description(&rule("a")), without_description(&rule("b")));
    }
}
