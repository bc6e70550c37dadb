//! The declaration of a kind as data: its fields, how they are compared, its place in the API.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use stateward_domain::entity::state::DriftPolicy;
use stateward_domain::kind::{ActionSpec, KindSpec, OnLost, RelationStep};

use crate::openstack::client::Pagination;
use crate::openstack::name_resolution::is_uuid;
use crate::openstack::service::Service;

/// Whether a field can change while the object exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutability {
    InPlace,
    Never,
}

/// How a desired value is compared with the observed one.
#[derive(Clone, Copy)]
pub(super) enum Compare {
    /// As a whole.
    Exact,
    /// As a set: order and repetition mean nothing.
    Set,
    /// An id, or a name that is resolved only at creation: images and networks are renamed and replaced under the same
    /// name, and objects made from them stay unchanged.
    Source,
    /// An id or a name; the other of the two is observed under this key.
    Either(&'static str),
    /// By a function of the whole observed state and the desired value.
    By(fn(&Value, &Value) -> bool),
    /// Not observed, so never different.
    NotObserved,
}

/// A field of the desired state.
pub(in crate::openstack) struct Field {
    pub(super) name: &'static str,
    pub(super) mutability: Mutability,
    pub(super) compare: Compare,
}

/// A field that can change.
pub(super) const fn mutable(name: &'static str, compare: Compare) -> Field {
    Field { name, mutability: Mutability::InPlace, compare }
}

/// A field that cannot.
pub(super) const fn fixed(name: &'static str, compare: Compare) -> Field {
    Field { name, mutability: Mutability::Never, compare }
}

/// An action: its name, its input as JSON Schema, whether it is idempotent.
pub(super) struct ActionMeta {
    pub(super) name: &'static str,
    pub(super) input: &'static str,
    pub(super) idempotent: bool,
}

/// What a replacement of an object of this kind loses beside its id.
fn lost_with(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "openstack.server" => {
            "its root disk unless that is a volume of its own, its memory, the NICs and addresses that \
             Nova made, and all that others plugged in"
        }
        "openstack.volume" => "all its data",
        "openstack.snapshot" | "openstack.backup" => "the data of that moment",
        "openstack.image" => "its content, unless the desired state holds or names it",
        "openstack.port" | "openstack.subnet" => {
            "its addresses, unless the desired state names them"
        }
        "openstack.floating_ip" => "its address, unless the desired state names it",
        "openstack.project" => "all that is in it",
        // A keypair, a network, a router, a security group, a server group: made anew, they are the same.
        _ => return None,
    })
}

/// Input schema of actions without input.
pub(super) const NO_INPUT: &str = r#"{"type": "object", "additionalProperties": false}"#;

/// The declaration of a kind.
pub(in crate::openstack) struct KindMeta {
    pub(super) name: &'static str,
    pub(super) summary: &'static str,
    pub(super) schema: &'static str,
    pub(super) service: Service,
    /// Collection in the path: `networks`.
    pub(super) path: &'static str,
    /// Path of the list, if it is not `path`: `volumes/detail`.
    pub(super) list: &'static [&'static str],
    /// Wrapper of one object: `network`; empty = none.
    pub(super) row: &'static str,
    /// Wrapper of a list: `networks`.
    pub(super) rows: &'static str,
    pub(super) pagination: Pagination,
    pub(super) fields: &'static [Field],
    /// Further members of the API's object that are observed.
    pub(super) computed: &'static [&'static str],
    pub(super) actions: &'static [ActionMeta],
    pub(super) identity: Option<&'static str>,
    pub(super) owner_key: bool,
    pub(super) retry_budget: u32,
    pub(super) on_lost: OnLost,
}

impl KindMeta {
    /// The declaration for the engine, in a cloud whose services end a request in `service_timeout`.
    ///
    /// # Panics
    /// If a schema, which is part of the program, is no JSON; tests cover that.
    pub(super) fn declare(&self, service_timeout: Duration) -> KindSpec {
        let json = |text| serde_json::from_str(text).expect("the schema is part of the program");
        let fixed = self.fields.iter().filter(|field| field.mutability == Mutability::Never);
        let action = |action: &ActionMeta| ActionSpec {
            name: action.name.into(),
            input: json(action.input),
            idempotent: action.idempotent,
        };
        KindSpec {
            name: self.name.into(),
            summary: self.summary.to_owned(),
            schema: json(self.schema),
            schema_version: 1,
            immutable: fixed.map(|field| format!("/{}", field.name)).collect(),
            write_only: Vec::new(),
            identity: self.identity.map(str::to_owned),
            owner_key: self.owner_key,
            // Cinder restores the metadata of a volume with its backup.
            copies_owner_key: self.owner_key && self.service == Service::Volume,
            actions: self.actions.iter().map(action).collect(),
            implicit: implicit(self.name),
            settle: service_timeout,
            retry_budget: self.retry_budget,
            on_lost: self.on_lost,
            drift_policy: DriftPolicy::default(),
            loses: lost_with(self.name).map(str::to_owned),
        }
    }

    pub(super) fn field(&self, pointer: &str) -> Option<&Field> {
        let name = pointer.strip_prefix('/')?;
        self.fields.iter().find(|field| field.name == name)
    }

    /// The fields that `spec` names and whose observed value differs.
    pub(super) fn differing(&self, observed: &Value, spec: &Value) -> Vec<&Field> {
        let named = |field: &&Field| spec.get(field.name).is_some();
        self.fields.iter().filter(named).filter(|field| !field.equal(observed, spec)).collect()
    }
}

impl Field {
    fn equal(&self, observed: &Value, spec: &Value) -> bool {
        let (seen, wanted) = (&observed[self.name], &spec[self.name]);
        match self.compare {
            Compare::Exact => seen == wanted,
            Compare::Set => set(seen) == set(wanted),
            Compare::Source => match wanted.as_str() {
                Some(text) if !is_uuid(text) => true,
                _ => seen == wanted,
            },
            Compare::Either(other) => seen == wanted || observed[other] == *wanted,
            Compare::By(equal) => equal(observed, wanted),
            Compare::NotObserved => true,
        }
    }
}

/// What the objects of a kind are created after without a reference: Neutron gives no address on a network without
/// subnets, and leads no floating IP to a port whose subnet no router serves.
fn implicit(kind: &str) -> Vec<Vec<RelationStep>> {
    let to = |noun: &str| RelationStep::To(format!("openstack.{noun}").as_str().into());
    let from = |noun: &str| RelationStep::From(format!("openstack.{noun}").as_str().into());
    match kind {
        "openstack.port" | "openstack.server" => vec![vec![to("network"), from("subnet")]],
        "openstack.floating_ip" => vec![
            vec![to("port"), to("network"), from("subnet"), from("router")],
            vec![to("port"), to("subnet"), from("router")],
        ],
        _ => Vec::new(),
    }
}

/// The distinct members of a list; `null` is an empty list.
pub(super) fn set(value: &Value) -> BTreeSet<String> {
    value.as_array().into_iter().flatten().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_way_to_compare_tells_equal_from_different() {
        let id = "9b4ee8a4-0b0e-4f3e-a3c4-0a4b0f7ad1d4";
        let seen = json!({"f": ["a", "b"], "type": "gold", "type_id": "7", "src": id});
        let same = |compare, name, wanted: Value| {
            let field = mutable(name, compare);
            field.equal(&seen, &json!({ name: wanted }))
        };
        assert!(same(Compare::Set, "f", json!(["b", "a", "a"])));
        assert!(!same(Compare::Set, "f", json!(["a"])));
        assert!(!same(Compare::Exact, "f", json!(["b", "a"])));
        assert!(same(Compare::Either("type_id"), "type", json!("7")));
        assert!(same(Compare::Either("type_id"), "type", json!("gold")));
        assert!(!same(Compare::Either("type_id"), "type", json!("8")));
        assert!(same(Compare::Source, "src", json!(id)));
        assert!(same(Compare::Source, "src", json!("a name")));
        assert!(!same(Compare::Source, "src", json!("00000000-0000-0000-0000-000000000000")));
    }
}
