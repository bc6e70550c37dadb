//! Test plans: a desired state of a kind and its variations.

use std::sync::Arc;

use serde_json::Value;
use stateward_domain::ports::driver::Driver;

use super::subject;
use crate::kind_under_test::Subject;

/// A desired state and its variations: `desired` is the first one, each of `variations` changes one field.
pub(crate) struct Plans {
    pub(crate) desired: Value,
    pub(crate) variations: Vec<Value>,
    /// Variations that cannot be reverted.
    pub(crate) one_way: Vec<Value>,
    /// A change of an immutable field; null = the kind has none.
    pub(crate) immutable: Value,
}

impl Plans {
    pub(crate) fn subject(self, driver: &Arc<dyn Driver>, kind: &str) -> Subject {
        let with = |change: &Value| {
            let mut desired = self.desired.clone();
            let members = change.as_object().expect("a change is an object");
            for (name, value) in members {
                desired[name] = value.clone();
            }
            desired
        };
        let mut desired = vec![self.desired.clone()];
        desired.extend(self.variations.iter().chain(&self.one_way).map(with));
        let one_way = self.one_way.iter().map(with).collect();
        let immutable = match &self.immutable {
            Value::Null => Value::Null,
            change => with(change),
        };
        let mut subject = subject(driver, kind, desired, immutable);
        subject.one_way = one_way;
        subject
    }
}

/// An id of nothing, for references that cannot change anyway.
pub(crate) const ELSEWHERE: &str = "00000000-0000-4000-8000-000000000000";

/// The name of the external network.
pub(crate) fn external() -> String {
    variable("STATEWARD_TEST_EXTERNAL_NETWORK", "public")
}

/// The name of a resource that the cloud has to have.
pub(crate) fn variable(name: &str, usual: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| usual.to_owned())
}
