//! A direct client of the cloud, independent of the driver.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

/// Set by `make test-openstack`: without it, a configured cloud is not used.
const WANTED: &str = "STATEWARD_TEST_OPENSTACK";

/// Names a cloud of `clouds.yaml` with an administrator's credentials.
const ADMIN: &str = "STATEWARD_TEST_ADMIN_CLOUD";

/// Lists of objects that carry marks: service type, path, name of the list.
const MARKED: &[(&str, &str, &str)] = &[
    ("network", "/v2.0/networks", "networks"),
    ("network", "/v2.0/subnets", "subnets"),
    ("network", "/v2.0/ports", "ports"),
    ("network", "/v2.0/security-groups", "security_groups"),
    ("network", "/v2.0/routers", "routers"),
    ("network", "/v2.0/floatingips", "floatingips"),
    ("volume", "/volumes/detail", "volumes"),
    ("volume", "/snapshots/detail", "snapshots"),
    ("image", "/v2/images?limit=1000", "images"),
    ("compute", "/os-server-groups", "server_groups"),
    ("compute", "/servers/detail", "servers"),
];

/// Lists of objects without marks.
const UNMARKED: &[(&str, &str, &str)] = &[
    ("network", "/v2.0/address-groups", "address_groups"),
    ("network", "/v2.0/security-group-rules", "security_group_rules"),
    ("compute", "/os-keypairs", "keypairs"),
    ("image", "/v2/images?os_hidden=true&limit=1000", "images"),
];

/// A token, and the endpoints of the services.
pub(crate) struct Cloud {
    pub(crate) name: String,
    pub(crate) auth_url: String,
    token: String,
    services: BTreeMap<String, String>,
    http: reqwest::Client,
}

impl Cloud {
    /// As an administrator; `None`, with the reason recorded, without credentials.
    pub(crate) async fn admin() -> Option<Self> {
        let Ok(name) = std::env::var(ADMIN) else {
            crate::skip::skipped(&format!("{ADMIN} names no cloud"));
            return None;
        };
        Some(Self::named(&name).await)
    }

    /// `None`, with the reason recorded, where no cloud is to be used.
    pub(crate) async fn wanted() -> Option<Self> {
        if std::env::var_os(WANTED).is_none() {
            crate::skip::skipped(&format!("{WANTED} is not set, see `make test-openstack`"));
            return None;
        }
        Some(Self::named(&std::env::var("OS_CLOUD").expect("OS_CLOUD names a cloud")).await)
    }

    /// One of `clouds.yaml`.
    pub(crate) async fn named(name: &str) -> Self {
        let auth_url = said(name, "configuration show -f value -c auth.auth_url").await;
        let token = said(name, "token issue -f value -c id").await;
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let catalogue = http
            .get(format!("{auth_url}/auth/catalog"))
            .header("X-Auth-Token", &token)
            .send()
            .await
            .unwrap();
        let catalogue: Value = catalogue.json().await.unwrap();
        let services = services(&catalogue["catalog"]);
        Self { name: name.to_owned(), auth_url, token, services, http }
    }

    /// Host and port of every service, that of Keystone too.
    pub(crate) fn hosts(&self) -> Vec<String> {
        let urls = self.services.values().chain([&self.auth_url]);
        let mut hosts: Vec<_> = urls.map(|url| host(url)).collect();
        hosts.sort();
        hosts.dedup();
        hosts
    }

    /// Sends a request to a service; the body of the reply, `Null` when it is empty.
    pub(crate) async fn ask(
        &self,
        method: Method,
        service: &str,
        path: &str,
        body: Value,
    ) -> Value {
        let reply = self.request(method, service, path, &body).send().await.unwrap();
        let (status, text) = (reply.status(), reply.text().await.unwrap());
        assert!(status.is_success(), "{service} {path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    fn request(
        &self,
        method: Method,
        service: &str,
        path: &str,
        body: &Value,
    ) -> reqwest::RequestBuilder {
        let url = format!("{}{path}", self.services[service]);
        let method_is_post = method == Method::POST;
        let patches_image = service == "image" && method == Method::PATCH;
        let mut request = self.http.request(method, url).header("X-Auth-Token", &self.token);
        request = match service {
            // A name with `@` takes 2.92.
            "compute" if path == "/os-keypairs" && method_is_post => {
                request.header("OpenStack-API-Version", "compute 2.92")
            }
            "compute" => request.header("OpenStack-API-Version", "compute 2.79"),
            "volume" => request.header("OpenStack-API-Version", "volume 3.59"),
            _ => request,
        };
        if patches_image {
            let json = "application/openstack-images-v2.1-json-patch";
            request = request.header("Content-Type", json);
        }
        if body.is_null() { request } else { request.json(body) }
    }

    /// Sends a request to a service that may refuse it: whether it did not.
    pub(crate) async fn tries(
        &self,
        method: Method,
        service: &str,
        path: &str,
        body: Value,
    ) -> bool {
        let reply = self.request(method, service, path, &body).send().await.unwrap();
        reply.status().is_success()
    }

    /// Gives an image its content.
    pub(crate) async fn upload(&self, image: &str, content: &'static str) {
        let request =
            self.request(Method::PUT, "image", &format!("/v2/images/{image}/file"), &Value::Null);
        let request = request.header("Content-Type", "application/octet-stream").body(content);
        let status = request.send().await.unwrap().status();
        assert!(status.is_success(), "{image}: {status}");
    }

    /// All objects that the services list, by name of the list and id.
    pub(crate) async fn lists(&self) -> BTreeMap<(&'static str, String), Value> {
        let mut objects = BTreeMap::new();
        for (service, path, name) in MARKED.iter().chain(UNMARKED) {
            let mut list = self.ask(Method::GET, service, path, Value::Null).await;
            for row in list[*name].as_array_mut().expect("a list") {
                let id = if *name == "keypairs" { &row["keypair"]["name"] } else { &row["id"] };
                let id = id.as_str().expect("an id").to_owned();
                objects.insert((*name, id), row.take());
            }
        }
        objects
    }

    /// The objects of all kinds that carry the mark of an entity, of any incarnation.
    pub(crate) async fn marked(&self, entity: &str) -> Vec<Value> {
        let mark = format!("managed-entity.{entity}.");
        let mut found = Vec::new();
        for (service, path, name) in MARKED {
            let list = self.ask(Method::GET, service, path, Value::Null).await;
            let rows = list[*name].as_array().expect("a list");
            found.extend(rows.iter().filter(|row| row.to_string().contains(&mark)).cloned());
        }
        found
    }

    /// How many objects carry each mark, of all kinds; entities without an object are left out.
    pub(crate) async fn marks(&self) -> BTreeMap<String, usize> {
        let mut marks = BTreeMap::new();
        for (service, path, name) in MARKED {
            let list = self.ask(Method::GET, service, path, Value::Null).await;
            for row in list[*name].as_array().expect("a list") {
                let row = row.to_string();
                let ids = row.split("managed-entity.").skip(1);
                let ids: BTreeSet<_> = ids.filter_map(|rest| rest.get(..36)).collect();
                for id in ids {
                    *marks.entry(id.to_owned()).or_default() += 1;
                }
            }
        }
        marks
    }

    /// The id of the project that its credentials lead to.
    pub(crate) fn project(&self) -> &str {
        let (_, project) = self.services["volume"].rsplit_once('/').expect("a path");
        project
    }

    /// How many keypairs have this name: they carry no mark.
    pub(crate) async fn keypairs(&self, name: &str) -> usize {
        let list = self.ask(Method::GET, "compute", "/os-keypairs", Value::Null).await;
        let rows = list["keypairs"].as_array().expect("a list");
        rows.iter().filter(|row| row["keypair"]["name"] == name).count()
    }

    /// How many projects carry the mark of an entity: for administrators.
    pub(crate) async fn projects(&self, entity: &str) -> usize {
        let mark = format!("managed-entity.{entity}.");
        let list = self.ask(Method::GET, "identity", "/projects", Value::Null).await;
        let rows = list["projects"].as_array().expect("a list");
        rows.iter().filter(|row| row.to_string().contains(&mark)).count()
    }

    /// Creates an unmanaged network; returns its id.
    pub(crate) async fn network(&self, name: &str) -> String {
        let body = json!({ "network": { "name": name } });
        let made = self.ask(Method::POST, "network", "/v2.0/networks", body).await;
        made["network"]["id"].as_str().unwrap().to_owned()
    }
}

/// Runs the cloud's own client; returns its output as JSON.
pub(crate) async fn said(cloud: &str, arguments: &str) -> String {
    let mut command = Command::new("openstack");
    let done = command.arg("--os-cloud").arg(cloud).args(arguments.split(' ')).output().await;
    let done = done.expect("the command `openstack` is installed");
    assert!(done.status.success(), "{arguments}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

fn services(catalogue: &Value) -> BTreeMap<String, String> {
    let mut services = BTreeMap::new();
    for service in catalogue.as_array().expect("a catalogue") {
        let name = match service["type"].as_str().unwrap() {
            "block-storage" | "volumev3" => "volume",
            other => other,
        };
        let endpoints = service["endpoints"].as_array().unwrap();
        let public = endpoints.iter().find(|endpoint| endpoint["interface"] == "public");
        if let Some(url) = public.and_then(|endpoint| endpoint["url"].as_str()) {
            services.insert(name.to_owned(), url.trim_end_matches('/').to_owned());
        }
    }
    services
}

fn host(url: &str) -> String {
    let (_, rest) = url.split_once("://").expect("an address");
    rest.split('/').next().unwrap_or_default().to_owned()
}
