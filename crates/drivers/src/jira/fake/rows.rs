//! The rows of a site's tables.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use hyper::body::Bytes;
use jiff::Timestamp;
use serde_json::Value;

/// A user. Cloud names one by `account_id`, Data Center by `name`; inside of the fake it is always `name`.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) account_id: String,
    pub(crate) email: String,
    pub(crate) display_name: String,
    /// API token of Cloud, personal access token of Data Center.
    pub(crate) token: String,
    pub(crate) active: bool,
    pub(crate) administers: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Project {
    pub(crate) id: u64,
    pub(crate) key: String,
    pub(crate) former_keys: Vec<String>,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) type_key: String,
    pub(crate) lead: String,
    pub(crate) assignee_type: String,
    pub(crate) url: Option<String>,
    pub(crate) category: Option<u64>,
    pub(crate) archived: bool,
    /// When it was moved to the recycle bin; `None` = it was not.
    pub(crate) deleted: Option<Timestamp>,
    pub(crate) properties: BTreeMap<String, Value>,
}

/// An issue. `fields` holds canonical values: ids of what JIRA keeps, names of users, ADF objects or wiki strings.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Issue {
    pub(crate) id: u64,
    pub(crate) project: u64,
    pub(crate) number: u64,
    pub(crate) former_keys: Vec<String>,
    pub(crate) status: &'static str,
    pub(crate) creator: String,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
    pub(crate) resolved: Option<Timestamp>,
    pub(crate) fields: BTreeMap<String, Value>,
    pub(crate) properties: BTreeMap<String, Value>,
    pub(crate) watchers: BTreeSet<String>,
    pub(crate) archived: bool,
}

impl Issue {
    /// The canonical text of a field; empty when it is not set.
    pub(crate) fn text(&self, field: &str) -> &str {
        self.fields.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// The ids in a list field; none when it is not set.
    pub(crate) fn list(&self, field: &str) -> impl Iterator<Item = &str> {
        let list = self.fields.get(field).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str)
    }

    /// Id of the parent.
    pub(crate) fn parent(&self) -> Option<u64> {
        self.text("parent").parse().ok()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Comment {
    pub(crate) id: u64,
    pub(crate) issue: u64,
    pub(crate) author: String,
    pub(crate) update_author: String,
    pub(crate) body: Value,
    pub(crate) visibility: Option<Value>,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
    pub(crate) properties: BTreeMap<String, Value>,
}

#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) id: u64,
    pub(crate) project: u64,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) start_date: Option<String>,
    pub(crate) release_date: Option<String>,
    pub(crate) released: bool,
    pub(crate) archived: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Component {
    pub(crate) id: u64,
    pub(crate) project: u64,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) lead: Option<String>,
    pub(crate) assignee_type: String,
}

/// A link: `source` shows the outward description and `target` the inward one.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) id: u64,
    pub(crate) kind: &'static str,
    pub(crate) source: u64,
    pub(crate) target: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct RemoteLink {
    pub(crate) id: u64,
    pub(crate) issue: u64,
    pub(crate) global_id: Option<String>,
    pub(crate) application: Option<Value>,
    pub(crate) relationship: Option<String>,
    pub(crate) object: Value,
}

#[derive(Clone, Debug)]
pub(crate) struct Attachment {
    pub(crate) id: u64,
    pub(crate) issue: u64,
    pub(crate) filename: String,
    pub(crate) mime: String,
    pub(crate) content: Bytes,
    pub(crate) author: String,
    pub(crate) created: Timestamp,
}

/// An asynchronous deletion of a project.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) id: u64,
    pub(crate) project: u64,
    pub(crate) submitted: Timestamp,
    pub(crate) begun: Instant,
    /// `None` = it runs; else whether it succeeded.
    pub(crate) done: Option<bool>,
}
