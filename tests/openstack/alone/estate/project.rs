//! A project that a plain client fills by the requests of `objects.yaml`, and empties again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use super::super::super::cloud::Cloud;
use super::super::super::lifecycle::{unique, variable};
use crate::harness::{text, until};

const REQUESTS: &str = include_str!("objects.yaml");
const PUBLIC_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGVmjp6nmRYdQeCFqfbkmfP8zPPCuUt5LXyFQxdJZhlG";
/// Time limit for emptying the project.
const EMPTY_WITHIN: Duration = Duration::from_mins(2);

/// What is made: its service, path and member in bodies, and its list. Those that others need come later.
const PLACES: &[(&str, &str, &str, &str, &str)] = &[
    ("floating_ip", "network", "/v2.0/floatingips", "floatingip", "floatingips"),
    ("server", "compute", "/servers", "server", "servers"),
    ("server_group", "compute", "/os-server-groups", "server_group", "server_groups"),
    ("keypair", "compute", "/os-keypairs", "keypair", "keypairs"),
    ("router", "network", "/v2.0/routers", "router", "routers"),
    ("port", "network", "/v2.0/ports", "port", "ports"),
    ("subnet", "network", "/v2.0/subnets", "subnet", "subnets"),
    ("network", "network", "/v2.0/networks", "network", "networks"),
    (
        "security_group_rule",
        "network",
        "/v2.0/security-group-rules",
        "security_group_rule",
        "security_group_rules",
    ),
    ("security_group", "network", "/v2.0/security-groups", "security_group", "security_groups"),
    ("address_group", "network", "/v2.0/address-groups", "address_group", "address_groups"),
    ("snapshot", "volume", "/snapshots", "snapshot", "snapshots"),
    ("volume", "volume", "/volumes", "volume", "volumes"),
    ("image", "image", "/v2/images", "", "images"),
];

/// Objects by name of the list and id, as the cloud's own lists show them.
pub(super) type Lists = BTreeMap<(&'static str, String), Value>;

/// Service and path of an object, and the member that it has in bodies (empty = it is the body).
pub(super) fn place(list: &str, id: &str) -> (&'static str, String, &'static str) {
    let place = PLACES.iter().find(|place| place.4 == list).expect("a list of ours");
    (place.1, format!("{}/{id}", place.2), place.3)
}

/// The kind of the objects of a list; `None` = they are parts of others, or have no kind.
pub(super) fn kind_of(list: &str) -> Option<&'static str> {
    let kind = PLACES.iter().find(|place| place.4 == list)?.0;
    (!matches!(kind, "security_group_rule" | "address_group")).then_some(kind)
}

/// The project, and what it held before.
#[derive(Clone)]
pub(super) struct Project {
    pub(super) cloud: Arc<Cloud>,
    empty: Arc<Lists>,
    /// What `$NAME` stands for.
    ids: BTreeMap<String, String>,
}

impl Project {
    pub(super) async fn new(cloud: Cloud) -> Self {
        let empty = cloud.lists().await;
        let mut ids = BTreeMap::new();
        for (name, list, wanted) in [
            ("external", "networks", variable("STATEWARD_TEST_EXTERNAL_NETWORK", "public")),
            ("image", "images", variable("STATEWARD_TEST_IMAGE", "tiny")),
        ] {
            let mut rows = empty.iter().filter(|((it, _), _)| *it == list);
            let ((_, id), _) = rows.find(|(_, row)| row["name"] == *wanted).expect("it is there");
            ids.insert(name.to_owned(), id.clone());
        }
        let flavors = cloud.ask(Method::GET, "compute", "/flavors", Value::Null).await;
        let wanted = variable("STATEWARD_TEST_FLAVOR", "m1.tiny");
        let mut flavors = flavors["flavors"].as_array().expect("a list").iter();
        let flavor = flavors.find(|row| row["name"] == *wanted).expect("it is there");
        ids.insert("flavor".to_owned(), text(&flavor["id"]));
        ids.insert("public_key".to_owned(), PUBLIC_KEY.to_owned());
        ids.insert("name".to_owned(), unique("estate"));
        Self { cloud: Arc::new(cloud), empty: Arc::new(empty), ids }
    }

    /// Sends all requests.
    pub(super) async fn fill(&mut self) {
        let steps: Vec<Value> = serde_norway::from_str(REQUESTS).expect("a list of requests");
        for step in steps {
            let step = self.filled(&step);
            let body = step["body"].clone();
            if let Some(kind) = step["make"].as_str() {
                let id = self.make(kind, body).await;
                self.ids.insert(text(&step["as"]), id);
            } else if let Some(image) = step["upload"].as_str() {
                self.cloud.upload(image, "stateward").await;
            } else if let Some(target) = step["until"].as_str() {
                let (service, path) = target.split_once(' ').expect("a service and a path");
                self.reaches(service, path, &step).await;
            } else {
                let (method, target) = match step["put"].as_str() {
                    Some(target) => (Method::PUT, target),
                    None => (Method::POST, step["post"].as_str().expect("a request")),
                };
                let (service, path) = target.split_once(' ').expect("a service and a path");
                self.cloud.ask(method, service, path, body).await;
            }
        }
    }

    fn filled(&self, step: &Value) -> Value {
        // The longest first: one name may begin with another.
        let mut names: Vec<_> = self.ids.iter().collect();
        names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        let filled = names
            .iter()
            .fold(step.to_string(), |text, (name, id)| text.replace(&format!("${name}"), id));
        serde_json::from_str(&filled).expect("JSON still")
    }

    async fn make(&self, kind: &str, body: Value) -> String {
        let (_, service, path, row, _) =
            PLACES.iter().find(|place| place.0 == kind).expect("a place for it");
        let body = if row.is_empty() { body } else { json!({ *row: body }) };
        let made = self.cloud.ask(Method::POST, service, path, body).await;
        let made = if row.is_empty() { &made } else { &made[*row] };
        text(if kind == "keypair" { &made["name"] } else { &made["id"] })
    }

    async fn reaches(&self, service: &str, path: &str, step: &Value) {
        let (pointer, status) = (step["at"].as_str().expect("a pointer"), &step["is"]);
        until(&format!("{path} is {status}"), async || {
            let shown = self.cloud.ask(Method::GET, service, path, Value::Null).await;
            (shown.pointer(pointer) == Some(status)).then_some(())
        })
        .await;
    }

    /// What the lists show beyond what the project held before.
    pub(super) async fn objects(&self) -> Lists {
        let mut lists = self.cloud.lists().await;
        lists.retain(|key, _| !self.empty.contains_key(key));
        lists
    }

    /// Deletes all objects, and waits until the lists show what they did before.
    ///
    /// # Panics
    /// When something is still left after [`EMPTY_WITHIN`].
    pub(super) async fn empty(self) {
        let began = Instant::now();
        loop {
            let left = self.objects().await;
            if left.is_empty() {
                return;
            }
            assert!(began.elapsed() < EMPTY_WITHIN, "left behind: {left:#?}");
            for (list, id) in left.keys().filter(|(list, _)| *list == "routers") {
                self.unplug(list, id, &left).await;
            }
            for place in PLACES.iter().filter(|place| place.0 != "security_group_rule") {
                for ((_, id), row) in left.iter().filter(|((list, _), _)| *list == place.4) {
                    self.delete(place.4, id, row).await;
                }
            }
        }
    }

    /// Takes a router's routes and interfaces away.
    async fn unplug(&self, list: &str, id: &str, left: &Lists) {
        let (service, path, _) = place(list, id);
        let bare = json!({ "router": { "routes": [] } });
        self.cloud.tries(Method::PUT, service, &path, bare).await;
        for ((_, port), row) in left.iter().filter(|((list, _), _)| *list == "ports") {
            if row["device_id"] == *id {
                let path = format!("{path}/remove_router_interface");
                self.cloud.tries(Method::PUT, service, &path, json!({ "port_id": port })).await;
            }
        }
    }

    /// Tries to delete an object; what others still use is tried again later.
    async fn delete(&self, list: &str, id: &str, row: &Value) {
        let (service, path, _) = place(list, id);
        if row["protected"] == true {
            let change = json!([{ "op": "replace", "path": "/protected", "value": false }]);
            self.cloud.tries(Method::PATCH, service, &path, change).await;
        }
        if row["device_owner"] == "network:router_ha_interface" {
            let change = json!({ "port": { "device_owner": "", "device_id": "" } });
            self.cloud.tries(Method::PUT, service, &path, change).await;
        }
        self.cloud.tries(Method::DELETE, service, &path.replace(' ', "%20"), Value::Null).await;
    }
}
