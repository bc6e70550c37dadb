//! The value of a reference, and why it has none yet.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Field, Reference};
use crate::entity::Entity;
use crate::entity::reference_target::Target;
use crate::entity::state::{ManagementPolicy, Presence};

/// Why a reference has no value. Each of these can pass when the target changes, so none is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unready {
    /// The target is not declared, or is deleted.
    Undeclared,
    /// The target is being deleted: a new dependent would lose it.
    Leaving,
    /// Its object is absent, or about to be replaced.
    NotThere,
    /// An attempt is running on it, so its values are unknown at this moment.
    InDoubt,
    /// Its observation does not have the attribute yet.
    NoAttribute,
    /// Its object was never as desired, or cannot be used.
    NotReady,
}

impl Unready {
    /// Whether the target lost something that its dependents have to report. The others are transient, or were
    /// requested and are reported elsewhere.
    #[must_use]
    pub const fn is_loss(self) -> bool {
        match self {
            Self::Undeclared | Self::NotThere | Self::NoAttribute => true,
            Self::Leaving | Self::InDoubt | Self::NotReady => false,
        }
    }
}

/// Purpose of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To create or change an object with them: the target must be present and not about to leave.
    Use,
    /// To compare with an object that was made from them: a target keeps its values while it is changed, and while
    /// its deletion waits for its dependents.
    Recognise,
}

/// The target that an entity waits for before its references can be resolved. Reads as the message of a condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("waits for {target}{}", self.missing())]
pub struct Waiting {
    /// JSON pointer to the reference in the desired state.
    pub pointer: String,
    /// The target.
    pub target: Target,
    /// The part of it that is waited for; `None` = the target itself.
    pub field: Option<Field>,
    /// Why it has no value.
    pub why: Unready,
}

impl Waiting {
    /// Names the attribute that a target which is there does not have.
    fn missing(&self) -> String {
        let field = self.field.as_ref().filter(|_| self.why == Unready::NoAttribute);
        field.map(|field| format!(", which has no {field}")).unwrap_or_default()
    }
}

/// The values of all `references` by pointer, for [`resolve`](super::resolve). `find` returns the newest fold of a
/// declared target.
///
/// # Errors
/// The first reference without a value: a desired state is resolved as a whole or not at all.
pub fn values<'a>(
    references: &[Reference],
    purpose: Purpose,
    find: impl Fn(&Target) -> Option<&'a Entity>,
) -> Result<BTreeMap<String, Value>, Waiting> {
    let one = |reference: &Reference| {
        let pointer = reference.pointer.clone();
        match value(find(&reference.target), &reference.field, purpose) {
            Ok(value) => Ok((pointer, value)),
            Err(why) => {
                let (target, field) = (reference.target.clone(), Some(reference.field.clone()));
                Err(Waiting { pointer, target, field, why })
            }
        }
    };
    references.iter().map(one).collect()
}

/// The value of `field` of `target`; `None` = the target is not declared.
///
/// # Errors
/// Why there is no value.
pub fn value(target: Option<&Entity>, field: &Field, purpose: Purpose) -> Result<Value, Unready> {
    let target = target
        .filter(|target| target.exists() && !target.is_deleted())
        .ok_or(Unready::Undeclared)?;
    if purpose == Purpose::Use {
        stays(target)?;
    }
    match field {
        Field::ExternalId => {
            let id = target.observed.external_id.as_ref().ok_or(Unready::NotThere)?;
            Ok(Value::from(id.as_str()))
        }
        Field::Attribute(names) => {
            let attributes = target.observed.attributes.as_ref().ok_or(Unready::NoAttribute)?;
            let found = names.iter().try_fold(attributes, |at, name| step(at, name));
            // Backends report undecided attributes as null.
            found.filter(|value| !value.is_null()).cloned().ok_or(Unready::NoAttribute)
        }
    }
}

/// The member, or the item of an array by its index.
fn step<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    match value {
        Value::Array(items) => {
            let index = name.parse::<usize>().ok().filter(|index| index.to_string() == name)?;
            items.get(index)
        }
        other => other.get(name),
    }
}

/// Whether an entity that depends on `target` without a value may be created: the target's object is there to stay, was
/// once as desired, and can be used. `None` = the target is not declared.
///
/// # Errors
/// Why not.
pub fn usable(target: Option<&Entity>) -> Result<(), Unready> {
    let target = target
        .filter(|target| target.exists() && !target.is_deleted())
        .ok_or(Unready::Undeclared)?;
    stays(target)?;
    // An object that is only observed is never made as desired.
    let observed = target.manifest.settings.management_policy == ManagementPolicy::ObserveOnly;
    let was_reached = target.applied.is_some() || observed;
    if was_reached && target.ready() { Ok(()) } else { Err(Unready::NotReady) }
}

fn stays(target: &Entity) -> Result<(), Unready> {
    if target.deletion.is_some() {
        return Err(Unready::Leaving);
    }
    // Half-way through a replacement, the known object is the one that is deleted.
    if target.replacing || target.observed.presence == Presence::Absent {
        return Err(Unready::NotThere);
    }
    if target.observed.presence == Presence::Unknown {
        return Err(Unready::InDoubt);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::entity::aggregate::Applied;
    use crate::entity::state::{DeletionPolicy, Observed, State};
    use crate::id::{EntityName, ExternalId, Generation, KindName};

    fn there() -> Entity {
        Entity {
            state: State::Ok,
            observed: Observed {
                presence: Presence::Present,
                external_id: Some(ExternalId::from("id-1")),
                attributes: Some(json!({
                    "port": {"id": 7}, "address": null, "networks": [{"port": "p-0"}, {}],
                })),
                ..Observed::default()
            },
            ..Entity::default()
        }
    }

    fn attribute(names: &[&str]) -> Field {
        Field::Attribute(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn a_present_target_has_an_id_and_what_was_observed() {
        let target = there();
        assert_eq!(value(Some(&target), &Field::ExternalId, Purpose::Use), Ok(json!("id-1")));
        assert_eq!(value(Some(&target), &attribute(&["port", "id"]), Purpose::Use), Ok(json!(7)));
        let port = attribute(&["networks", "0", "port"]);
        assert_eq!(value(Some(&target), &port, Purpose::Use), Ok(json!("p-0")));
        for missing in [
            &["address"][..],
            &["none"],
            &["port", "id", "deeper"],
            &["networks", "1", "port"],
            &["networks", "2"],
            &["networks", "00", "port"],
            &["networks", "port"],
        ] {
            assert_eq!(
                value(Some(&target), &attribute(missing), Purpose::Use),
                Err(Unready::NoAttribute)
            );
        }
    }

    #[test]
    fn a_target_that_drifted_or_erred_but_is_there_still_has_its_id() {
        for state in [State::Erred, State::UpdateScheduled, State::Updating] {
            let target = Entity { state, ..there() };
            assert_eq!(
                value(Some(&target), &Field::ExternalId, Purpose::Use),
                Ok(json!("id-1")),
                "{state:?}"
            );
        }
    }

    #[test]
    fn nothing_comes_from_a_target_that_is_not_there_to_stay() {
        let seen = |presence| Observed { presence, ..there().observed };
        let cases = [
            (Entity::default(), Unready::Undeclared),
            (Entity { state: State::Deleted, ..there() }, Unready::Undeclared),
            (Entity { deletion: Some(DeletionPolicy::Delete), ..there() }, Unready::Leaving),
            (Entity { deletion: Some(DeletionPolicy::Orphan), ..there() }, Unready::Leaving),
            (Entity { replacing: true, ..there() }, Unready::NotThere),
            (Entity { observed: seen(Presence::Unknown), ..there() }, Unready::InDoubt),
            (Entity { observed: seen(Presence::Absent), ..there() }, Unready::NotThere),
        ];
        for (target, why) in cases {
            assert_eq!(
                value(Some(&target), &Field::ExternalId, Purpose::Use),
                Err(why),
                "{target:?}"
            );
            assert_eq!(
                value(Some(&target), &attribute(&["port"]), Purpose::Use),
                Err(why),
                "{target:?}"
            );
        }
        let leaving = Entity { deletion: Some(DeletionPolicy::Delete), ..there() };
        let in_doubt = Entity { observed: seen(Presence::Unknown), ..there() };
        for target in [leaving, in_doubt] {
            let known = value(Some(&target), &Field::ExternalId, Purpose::Recognise);
            assert_eq!(known, Ok(json!("id-1")), "what was made from it is recognised");
        }
        assert_eq!(value(None, &Field::ExternalId, Purpose::Use), Err(Unready::Undeclared));
    }

    #[test]
    fn what_others_are_created_after_was_once_as_desired_and_can_be_used() {
        let applied = Some(Applied { generation: Generation(1), desired: json!({}) });
        let made = || Entity { applied: applied.clone(), ..there() };
        let unready = Some("its status is ERROR".to_owned());
        let mut adopted = there();
        adopted.manifest.settings.management_policy = ManagementPolicy::ObserveOnly;
        for (name, target, expected) in [
            ("made", made(), Ok(())),
            ("erred since", Entity { state: State::Erred, ..made() }, Ok(())),
            ("only observed", adopted, Ok(())),
            ("never as desired", there(), Err(Unready::NotReady)),
            (
                "in error",
                Entity { observed: Observed { unready, ..there().observed }, ..made() },
                Err(Unready::NotReady),
            ),
            (
                "leaving",
                Entity { deletion: Some(DeletionPolicy::Delete), ..made() },
                Err(Unready::Leaving),
            ),
            ("deleted", Entity { state: State::Deleted, ..made() }, Err(Unready::Undeclared)),
        ] {
            assert_eq!(usable(Some(&target)), expected, "{name}");
        }
        assert_eq!(usable(None), Err(Unready::Undeclared));
    }

    #[test]
    fn values_come_whole_or_name_the_target_that_they_wait_for() {
        let reference = |pointer: &str, name: &str| Reference {
            pointer: pointer.to_owned(),
            target: Target { kind: KindName::from("fake.thing"), name: EntityName::from(name) },
            field: Field::ExternalId,
        };
        let target = there();
        let find = |of: &Target| (of.name.as_str() == "blue").then_some(&target);
        let both = [reference("/a", "blue"), reference("/b/0", "red")];
        let found = values(&both[..1], Purpose::Use, find).expect("there");
        assert_eq!(found, [("/a".to_owned(), json!("id-1"))].into());
        let waiting = values(&both, Purpose::Use, find).expect_err("red is not there");
        assert_eq!(waiting.to_string(), "waits for fake.thing/red");
        assert_eq!((waiting.pointer.as_str(), waiting.why), ("/b/0", Unready::Undeclared));
        let field = attribute(&["networks", "1", "port"]);
        let absent = [Reference { field, ..reference("/c", "blue") }];
        let waiting = values(&absent, Purpose::Use, find).expect_err("it has no such attribute");
        let expected =
            "waits for fake.thing/blue, which has no observed.attributes.networks.1.port";
        assert_eq!(waiting.to_string(), expected);
    }
}
