//! The plan of kinds whose fields are compared one by one.

use serde_json::Value;
use stateward_domain::json_pointer::{self, covers};
use stateward_domain::kind::KindSpec;
use stateward_domain::ports::driver::Plan;

/// The plan of a kind whose fields are compared one by one: every field in `spec` must be equal in `observed`; a
/// difference in an immutable field requires a replacement. Objects are compared by the members in `spec`, everything
/// else as a whole.
pub(crate) fn plan_by_fields(kind: &KindSpec, observed: &Value, spec: &Value) -> Plan {
    let mut fields = Vec::new();
    differences("", observed, spec, &mut fields);
    fields.retain(|field| !covers(&kind.write_only, field));
    if fields.is_empty() {
        Plan::Noop
    } else if fields.iter().any(|field| covers(&kind.immutable, field)) {
        Plan::Replace { fields }
    } else {
        Plan::Update { fields }
    }
}

fn differences(pointer: &str, observed: &Value, spec: &Value, fields: &mut Vec<String>) {
    match (observed, spec) {
        (Value::Object(there), Value::Object(wanted)) => {
            for (key, value) in wanted {
                let below = format!("{pointer}/{}", json_pointer::escape(key));
                differences(&below, there.get(key).unwrap_or(&Value::Null), value, fields);
            }
        }
        _ if observed == spec => {}
        _ => fields.push(pointer.to_owned()),
    }
}
