//! Import: objects that a plain client made are imported, observed only, and left unchanged.

use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use super::super::cloud::Cloud;
use super::super::lifecycle::{configuration, unique, variable};
use crate::harness::{Server, Setup, condition, text, until};

/// An object of the cloud: its kind, its type for Terraform (empty = none), where it is, its id.
pub(super) struct Theirs {
    pub(super) kind: &'static str,
    pub(super) resource: &'static str,
    pub(super) service: &'static str,
    pub(super) path: &'static str,
    pub(super) id: String,
}

/// Objects made by a plain client, without our marks; the newest last.
pub(super) struct World {
    pub(super) cloud: Cloud,
    pub(super) all: Vec<Theirs>,
}

impl World {
    /// Creates one; `pointer` leads to its id in the response.
    pub(super) async fn make(
        &mut self,
        (kind, resource): (&'static str, &'static str),
        (service, path, row): (&'static str, &'static str, &str),
        body: Value,
    ) -> String {
        let body = if row.is_empty() { body } else { json!({ row: body }) };
        let made = self.cloud.ask(Method::POST, service, path, body).await;
        let made = if row.is_empty() { &made } else { &made[row] };
        let id = text(if kind == "keypair" { &made["name"] } else { &made["id"] });
        self.all.push(Theirs { kind, resource, service, path, id: id.clone() });
        id
    }

    /// One of every kind, except backups, which only we make, and projects, which a member cannot create.
    async fn everything(&mut self, name: &str) {
        let network = ("network", "/v2.0/networks", "network");
        let network = self
            .make(("network", "openstack_networking_network_v2"), network, json!({"name": name}))
            .await;
        let body =
            json!({"name": name, "network_id": network, "cidr": "10.94.0.0/24", "ip_version": 4});
        let place = ("network", "/v2.0/subnets", "subnet");
        self.make(("subnet", "openstack_networking_subnet_v2"), place, body).await;
        let body = json!({"name": name, "network_id": network});
        let place = ("network", "/v2.0/ports", "port");
        self.make(("port", "openstack_networking_port_v2"), place, body).await;
        let place = ("network", "/v2.0/routers", "router");
        self.make(("router", "openstack_networking_router_v2"), place, json!({"name": name})).await;
        let external = self.external().await;
        let body = json!({"description": name, "floating_network_id": external});
        let place = ("network", "/v2.0/floatingips", "floatingip");
        self.make(("floating_ip", "openstack_networking_floatingip_v2"), place, body).await;
        let place = ("network", "/v2.0/security-groups", "security_group");
        let body = json!({"name": name});
        self.make(("security_group", "openstack_networking_secgroup_v2"), place, body).await;
        self.storage(name).await;
        self.compute(name).await;
    }

    pub(super) async fn external(&self) -> String {
        let list = self.cloud.ask(Method::GET, "network", "/v2.0/networks", Value::Null).await;
        let name = variable("STATEWARD_TEST_EXTERNAL_NETWORK", "public");
        let rows = list["networks"].as_array().unwrap();
        text(&rows.iter().find(|row| row["name"] == *name).expect("a network outside")["id"])
    }

    async fn storage(&mut self, name: &str) {
        let place = ("volume", "/volumes", "volume");
        let body = json!({"name": name, "size": 1, "metadata": {"tier": "db"}});
        let volume = self.make(("volume", "openstack_blockstorage_volume_v3"), place, body).await;
        self.reaches("volume", &format!("/volumes/{volume}"), "/volume/status", "available").await;
        let body = json!({"name": name, "volume_id": volume});
        let place = ("volume", "/snapshots", "snapshot");
        let snapshot = self.make(("snapshot", ""), place, body).await;
        let path = format!("/snapshots/{snapshot}");
        self.reaches("volume", &path, "/snapshot/status", "available").await;
        let body = json!({"name": name, "disk_format": "raw", "container_format": "bare"});
        self.make(("image", "openstack_images_image_v2"), ("image", "/v2/images", ""), body).await;
    }

    async fn compute(&mut self, name: &str) {
        let place = ("compute", "/os-keypairs", "keypair");
        let key =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGVmjp6nmRYdQeCFqfbkmfP8zPPCuUt5LXyFQxdJZhlG";
        let body = json!({"name": name, "public_key": key});
        self.make(("keypair", "openstack_compute_keypair_v2"), place, body).await;
        let place = ("compute", "/os-server-groups", "server_group");
        let body = json!({"name": name, "policy": "anti-affinity"});
        self.make(("server_group", "openstack_compute_servergroup_v2"), place, body).await;
        let id_of = async |list: &str, path: &str, service: &str, name: String| {
            let reply = self.cloud.ask(Method::GET, service, path, Value::Null).await;
            let rows = reply[list].as_array().unwrap();
            text(&rows.iter().find(|row| row["name"] == *name).expect("it is there")["id"])
        };
        let flavor = variable("STATEWARD_TEST_FLAVOR", "m1.tiny");
        let flavor = id_of("flavors", "/flavors", "compute", flavor).await;
        let image = variable("STATEWARD_TEST_IMAGE", "tiny");
        let image = id_of("images", "/v2/images", "image", image).await;
        let body =
            json!({"name": name, "flavorRef": flavor, "imageRef": image, "networks": "none"});
        let place = ("compute", "/servers", "server");
        let server = self.make(("server", "openstack_compute_instance_v2"), place, body).await;
        self.reaches("compute", &format!("/servers/{server}"), "/server/status", "ACTIVE").await;
    }

    pub(super) async fn reaches(&self, service: &str, path: &str, pointer: &str, status: &str) {
        until(&format!("{path} is {status}"), async || {
            let shown = self.cloud.ask(Method::GET, service, path, Value::Null).await;
            (shown.pointer(pointer).is_some_and(|shown| shown == status)).then_some(())
        })
        .await;
    }

    /// Deletes all of them; each has to exist.
    async fn end(mut self) {
        while let Some(Theirs { service, path, id, kind, .. }) = self.all.pop() {
            let path = format!("{path}/{id}");
            self.cloud.ask(Method::GET, service, &path, Value::Null).await;
            self.cloud.ask(Method::DELETE, service, &path, Value::Null).await;
            if kind == "snapshot" {
                until("it is gone", async || {
                    let list =
                        self.cloud.ask(Method::GET, service, "/snapshots", Value::Null).await;
                    (!list.to_string().contains(&id)).then_some(())
                })
                .await;
            }
        }
    }

    /// A state file that names them all.
    fn state(&self) -> Value {
        let resources = self.all.iter().filter(|theirs| !theirs.resource.is_empty()).map(|theirs| {
            json!({
                "mode": "managed", "type": theirs.resource, "name": format!("the_{}", theirs.kind),
                "instances": [{"attributes": {"id": theirs.id}}],
            })
        });
        json!({"version": 4, "resources": resources.collect::<Vec<_>>()})
    }
}

/// Runs a command of ours that has to succeed; returns its standard output.
pub(super) async fn said(server: &Server, folder: &Path, arguments: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stateward"));
    command.args(arguments.split(' ')).current_dir(folder).env_remove("FAILPOINTS");
    command.env("STATEWARD_SERVER", &server.client.url);
    command.env("STATEWARD_TOKEN", &server.client.token);
    let done = command.output().await.expect("the binary starts");
    let (out, error) =
        (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{arguments}: {out}{error}");
    out.into_owned()
}

/// The imported entities are observe-only, as declared; then they are released.
async fn looked_at_and_forgotten(server: &Server, number: usize) {
    let client = &server.client;
    let entities = client.entities().await;
    assert_eq!(entities.len(), number, "{entities:#?}");
    for entity in entities {
        let id = text(&entity["id"]);
        let refresh = format!("/v1/entities/{id}/actions/refresh");
        client.done(Method::POST, &refresh, json!({})).await;
        let entity = client.reaches(&id, "ok").await;
        assert!(!condition(&entity, "drifted"), "{entity:#}");
        assert_eq!(entity["management_policy"], "observe_only", "{entity:#}");
        assert_eq!(entity["deletion_policy"], "orphan", "{entity:#}");
        client.done(Method::DELETE, &format!("/v1/entities/{id}"), Value::Null).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_made_is_taken_over_only_to_look_and_stays_when_it_is_forgotten() {
    let Some(cloud) = Cloud::wanted().await else { return };
    let setup = Setup::new(&configuration(&cloud.name, &cloud.auth_url, "10m"));
    let server = setup.start().await;
    let folder = setup.folder.path();
    let mut world = World { cloud, all: Vec::new() };
    world.everything(&unique("import")).await;

    let written = said(&server, folder, "import --backend cloud --all").await;
    assert_eq!(server.client.entities().await.len(), 0, "writing it down changed something");
    let ours = |document: &&str| world.all.iter().any(|theirs| document.contains(&theirs.id));
    let named = |document: &&str| {
        let id = document.lines().find_map(|line| line.strip_prefix("external_id: "));
        id.is_some_and(|id| world.all.iter().any(|theirs| theirs.id == id.trim_matches('\'')))
    };
    let documents: Vec<_> = written.split("---\n").filter(ours).filter(named).collect();
    assert_eq!(documents.len(), world.all.len(), "{written}");
    std::fs::write(folder.join("cloud.yaml"), documents.join("---\n")).unwrap();
    said(&server, folder, "apply -f cloud.yaml --wait").await;
    let again = said(&server, folder, "apply -f cloud.yaml --wait").await;
    assert!(again.lines().all(|line| line.ends_with(" unchanged")), "{again}");
    assert_eq!(again.lines().count(), world.all.len(), "{again}");
    looked_at_and_forgotten(&server, world.all.len()).await;

    let state = world.state();
    std::fs::write(folder.join("terraform.tfstate"), state.to_string()).unwrap();
    let import = "import --backend cloud --from-tfstate terraform.tfstate --apply --wait";
    let taken = said(&server, folder, import).await;
    let number = state["resources"].as_array().unwrap().len();
    assert_eq!(taken.lines().filter(|line| line.contains("/the_")).count(), number, "{taken}");
    looked_at_and_forgotten(&server, number).await;
    world.end().await;
}
