//! A project of many odd objects is taken over, managed, changed, put back and released: what the cloud's own lists show
//! of it is the same before and after.

mod project;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::cloud::Cloud;
use super::super::lifecycle::configuration;
use super::super::proxy::Proxy;
use super::import::said;
use crate::harness::{Server, Setup, condition, text};
use project::{Lists, Project, kind_of, place};

/// What another client writes, and what we do.
const THEIRS: &str = "stateward-tampered";
const OURS: &str = "stateward-changed";
/// How long the lists may lag behind.
const LISTS_WITHIN: Duration = Duration::from_secs(30);

/// The field that is changed: one that every object of the kind has, and that changes in place.
fn field_of(kind: &str) -> Option<&'static str> {
    match kind.trim_start_matches("openstack.") {
        "keypair" | "server_group" => None,
        // Servers know groups by their names.
        "floating_ip" | "security_group" => Some("description"),
        _ => Some("name"),
    }
}

/// Whether the field that is changed is managed: one without a value is in no manifest.
fn is_managed_field(manifest: &Value) -> bool {
    let field = field_of(&text(&manifest["kind"]));
    field.is_some_and(|field| !manifest["desired"][field].is_null())
}

/// The list of a kind's objects.
fn list_of(kind: &str) -> &'static str {
    let kind = kind.trim_start_matches("openstack.");
    let lists = ["networks", "subnets", "ports", "security_groups", "routers", "floatingips"];
    let more = ["volumes", "snapshots", "images", "server_groups", "servers", "keypairs"];
    let mut lists = lists.into_iter().chain(more);
    lists.find(|list| kind_of(list) == Some(kind)).expect("a list of the kind")
}

/// Objects without what a write changes beside its field: times, numbers, and copies in another service.
fn without_side_effects(mut lists: Lists) -> Lists {
    lists.values_mut().for_each(forget_side_effects);
    lists
}

fn forget_side_effects(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for name in ["updated_at", "updated", "revision_number"] {
                members.remove(name);
            }
            if let Some(addresses) = members.get_mut("addresses") {
                *addresses = without_network_names(addresses);
            }
            members.values_mut().for_each(forget_side_effects);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_side_effects),
        _ => {}
    }
}

/// The addresses of a server. Nova groups them by a copy of the network's name, which its periodic task
/// (`heal_instance_info_cache_interval`, 60 s) renews: it may read the name while another client has changed it.
fn without_network_names(addresses: &Value) -> Value {
    let Some(networks) = addresses.as_object() else { return addresses.clone() };
    let mut lists: Vec<_> = networks.values().cloned().collect();
    lists.sort_by_cached_key(Value::to_string);
    Value::Array(lists)
}

/// How two lists differ, object by object.
fn differences(before: &Lists, after: &Lists) -> Vec<String> {
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let differ = keys.into_iter().filter(|key| before.get(*key) != after.get(*key));
    differ.map(|key| format!("{key:?}: {:?} {:?}", before.get(key), after.get(key))).collect()
}

/// Manifests of the project's objects, as `import` wrote them.
struct Estate {
    setup: Setup,
    server: Server,
    proxy: Proxy,
    project: Project,
    manifests: Vec<Value>,
    /// What the lists showed before anything of ours began.
    before: Lists,
}

impl Estate {
    fn folder(&self) -> &Path {
        self.setup.folder.path()
    }

    async fn run(&self, arguments: &str) -> String {
        said(&self.server, self.folder(), arguments).await
    }

    /// Applies manifests as a file; returns what the command prints.
    async fn applies(&self, manifests: &[Value]) -> String {
        let texts: Vec<_> =
            manifests.iter().map(|it| serde_norway::to_string(it).expect("YAML")).collect();
        std::fs::write(self.folder().join("estate.yaml"), texts.join("---\n")).expect("written");
        self.run("apply -f estate.yaml --wait").await
    }

    /// Waits until the lists show what they did before, apart from side effects of a write.
    async fn is_as_before(&self, when: &str) {
        let before = without_side_effects(self.before.clone());
        let began = Instant::now();
        loop {
            let differ = differences(&before, &without_side_effects(self.project.objects().await));
            if differ.is_empty() {
                return;
            }
            assert!(began.elapsed() < LISTS_WITHIN, "{when}: {differ:#?}");
        }
    }

    /// Observes every entity once more.
    async fn observes(&self) {
        for entity in self.server.client.entities().await {
            let path = format!("/v1/entities/{}/actions/refresh", text(&entity["id"]));
            self.server.client.done(Method::POST, &path, json!({})).await;
        }
    }

    /// Another client writes `value` into the field of each object that `is` one to change; `None` = what was there.
    async fn tampers(&self, value: Option<&str>, is: impl Fn(usize, &Value) -> bool) {
        for (number, manifest) in self.manifests.iter().enumerate() {
            let kind = text(&manifest["kind"]);
            let is = is(number, manifest) && is_managed_field(manifest);
            let Some(field) = field_of(&kind).filter(|_| is) else { continue };
            let (list, id) = (list_of(&kind), text(&manifest["external_id"]));
            let (service, path, row) = place(list, &id);
            let was = &self.before[&(list, id.clone())][field];
            let value = value.map_or_else(|| was.clone(), |value| json!(value));
            let (method, body) = if row.is_empty() {
                let op = if value.is_null() { "remove" } else { "add" };
                let path = format!("/{field}");
                (Method::PATCH, json!([{ "op": op, "path": path, "value": value }]))
            } else {
                let mut members = json!({ field: value });
                // Neutron needs them where the port has several addresses.
                let led = self.before[&(list, id)].as_object().into_iter().flatten();
                let led = led.filter(|(name, value)| {
                    row == "floatingip"
                        && value.is_string()
                        && ["port_id", "fixed_ip_address"].contains(&name.as_str())
                });
                led.for_each(|(name, value)| members[name] = value.clone());
                (Method::PUT, json!({ row: members }))
            };
            self.project.cloud.ask(method, service, &path, body).await;
        }
    }

    /// What the cloud shows in the field of a manifest's object.
    async fn shown(&self, manifest: &Value) -> Value {
        let kind = text(&manifest["kind"]);
        let (service, path, row) = place(list_of(&kind), &text(&manifest["external_id"]));
        let shown = self.project.cloud.ask(Method::GET, service, &path, Value::Null).await;
        let field = field_of(&kind).expect("a field that changes");
        if row.is_empty() { shown[field].clone() } else { shown[row][field].clone() }
    }

    async fn entity_of(&self, manifest: &Value) -> Value {
        let entities = self.server.client.entities().await;
        let is = |entity: &&Value| {
            entity["kind"] == manifest["kind"] && entity["name"] == manifest["name"]
        };
        entities.iter().find(is).expect("it was applied").clone()
    }
}

/// Whether drift of the `number`th entity is corrected: half of them.
const fn is_corrected(number: usize) -> bool {
    number.is_multiple_of(2)
}

async fn begin(mut project: Project) -> Estate {
    let proxy = Proxy::before(&project.cloud).await;
    let config = configuration(&project.cloud.name, &proxy.auth_url, "10m") + "concurrency = 8\n";
    let setup = Setup::new(&config);
    let server = setup.start().await;
    project.fill().await;
    let before = project.objects().await;
    Estate { setup, server, proxy, project, manifests: Vec::new(), before }
}

/// Every object of the project is written as a manifest, which `apply` takes as it is.
async fn is_imported(estate: &mut Estate) {
    let written = estate.run("import --backend cloud --all").await;
    for document in serde_norway::Deserializer::from_str(&written) {
        let manifest = Value::deserialize(document).expect("a manifest");
        let key = (list_of(&text(&manifest["kind"])), text(&manifest["external_id"]));
        if estate.before.contains_key(&key) {
            estate.manifests.push(manifest);
        }
    }
    let written_ids: BTreeSet<_> =
        estate.manifests.iter().map(|it| text(&it["external_id"])).collect();
    let owned = |row: &Value| {
        row["device_owner"].as_str().is_some_and(|owner| owner.starts_with("network:"))
    };
    let wanted =
        estate.before.iter().filter(|((list, _), row)| kind_of(list).is_some() && !owned(row));
    let missing: Vec<_> =
        wanted.filter(|((_, id), _)| !written_ids.contains(id)).map(|(_, row)| row).collect();
    assert!(missing.is_empty(), "left out: {missing:#?}");
    assert!(written_ids.len() > 40, "{written}");
    assert!(written.contains("remote_address_group_id"), "nothing says so: {written}");
    let manifests = estate.manifests.clone();
    estate.applies(&manifests).await;
    let again = estate.applies(&manifests).await;
    assert!(again.lines().all(|line| line.ends_with(" unchanged")), "{again}");
    assert_eq!(estate.run("diff -f estate.yaml").await, "", "what was written is what is there");
    estate.observes().await;
    for entity in estate.server.client.entities().await {
        assert!(condition(&entity, "synced") && !condition(&entity, "drifted"), "{entity:#}");
    }
}

/// Full management of what was imported sends nothing that changes anything.
async fn is_managed(estate: &mut Estate) {
    for (number, manifest) in estate.manifests.iter_mut().enumerate() {
        manifest["management_policy"] = json!("full");
        let policy = if is_corrected(number) { "correct" } else { "report" };
        manifest["drift_policy"] = json!(policy);
    }
    let manifests = estate.manifests.clone();
    estate.applies(&manifests).await;
    estate.observes().await;
    let sent = estate.proxy.trap.changes();
    assert!(sent.is_empty(), "{sent:#?}");
    let differ = differences(&estate.before, &estate.project.objects().await);
    assert!(differ.is_empty(), "{differ:#?}");
}

/// What another client changes is put back, or reported and left, as the policy says.
async fn follows_the_policy(estate: &Estate) {
    estate.tampers(Some(THEIRS), |_, _| true).await;
    estate.observes().await;
    let (mut corrected, mut reported) = (Vec::new(), Vec::new());
    for (number, manifest) in estate.manifests.iter().enumerate() {
        if is_corrected(number) { corrected.push(manifest) } else { reported.push(manifest) }
    }
    let began = Instant::now();
    for manifest in corrected.into_iter().filter(|manifest| is_managed_field(manifest)) {
        while estate.shown(manifest).await == THEIRS {
            let entity = estate.entity_of(manifest).await;
            assert!(began.elapsed() < LISTS_WITHIN, "not put back: {entity:#}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    for manifest in reported.into_iter().filter(|manifest| is_managed_field(manifest)) {
        assert!(condition(&estate.entity_of(manifest).await, "drifted"), "{manifest:#}");
        assert_eq!(estate.shown(manifest).await, THEIRS, "{manifest:#}");
    }
    estate.tampers(None, |number, _| !is_corrected(number)).await;
    estate.is_as_before("after changes of another client").await;
    estate.observes().await;
    for entity in estate.server.client.entities().await {
        assert_eq!(entity["state"], "ok", "{entity:#}");
        assert!(!condition(&entity, "drifted"), "{entity:#}");
    }
}

/// What the files change is changed, and put back by the files of before.
async fn follows_the_files(estate: &Estate) {
    let (mut changed, mut restored) = (estate.manifests.clone(), estate.manifests.clone());
    for (changed, restored) in changed.iter_mut().zip(&mut restored) {
        if let Some(field) = field_of(&text(&changed["kind"])) {
            changed["desired"][field] = json!(OURS);
            if restored["desired"][field].is_null() {
                restored["desired"][field] = Value::Null;
            }
        }
    }
    estate.applies(&changed).await;
    for manifest in &changed {
        if field_of(&text(&manifest["kind"])).is_some() {
            assert_eq!(estate.shown(manifest).await, OURS, "{manifest:#}");
        }
    }
    estate.applies(&restored).await;
    estate.is_as_before("after changes of ours").await;
}

async fn lives(project: Project) {
    let began = Instant::now();
    let passed = |what: &str| println!("{what} after {:.0?}", began.elapsed());
    let mut estate = begin(project).await;
    passed("filled");
    is_imported(&mut estate).await;
    passed("imported");
    is_managed(&mut estate).await;
    passed("managed");
    follows_the_policy(&estate).await;
    passed("tampered with");
    follows_the_files(&estate).await;
    passed("changed");
    estate.proxy.trap.changes();
    estate.run("delete -f estate.yaml --wait").await;
    assert!(estate.server.client.entities().await.is_empty(), "released");
    let sent = estate.proxy.trap.changes();
    assert!(sent.is_empty(), "{sent:#?}");
    estate.is_as_before("released").await;
    passed("released");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_of_many_odd_objects_is_taken_over_and_released_as_it_was() {
    let Some(cloud) = Cloud::wanted().await else { return };
    let project = Project::new(cloud).await;
    let outcome = tokio::spawn(lives(project.clone())).await;
    // Whatever the result: others use the project.
    project.empty().await;
    outcome.unwrap();
}
