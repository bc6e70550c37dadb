//! Drift of every mutable field, made by a plain client: the driver reports the field, and corrects it.

mod direct_changes;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stateward_domain::id::ExternalId;
use stateward_domain::ports::driver::{Driver, Plan};

use super::cloud::Cloud;
use super::plans::Plans;
use super::prerequisites::Env;
use super::{ADMIN, cloud_for, plans_network, plans_storage_and_compute, then_clean_up};
use crate::kind_under_test::Subject;

/// Time that the cloud may need for a change.
const CHANGE_TIMEOUT: Duration = Duration::from_mins(1);

/// Fields that are not tested, and why.
const UNTOUCHED: &[(&str, &str, &str)] = &[
    ("openstack.image", "content", "Glance does not permit changes of the data of an image"),
    ("openstack.image", "source_url", "as `content`: it only says where that comes from"),
];

/// A field, and the value that another client sets.
struct Case {
    /// Further members of the desired state.
    base: Value,
    field: String,
    value: Value,
}

fn case(base: Value, field: &str, value: Value) -> Case {
    Case { base, field: field.to_owned(), value }
}

/// Cases for variations that another client cannot make alone.
async fn cases(kind: &str, env: &mut Env) -> Vec<Case> {
    let none = || json!({});
    match kind {
        "openstack.network" => {
            vec![case(none(), "shared", json!(true)), case(none(), "router:external", json!(true))]
        }
        "openstack.port" => {
            let subnet = env.first("openstack.subnet");
            let at = |ip: &str| json!([{"subnet_id": subnet, "ip_address": ip}]);
            vec![
                // Without a given address, any is as desired.
                case(json!({"fixed_ips": at("10.97.1.50")}), "fixed_ips", at("10.97.1.77")),
                // Port security can be disabled only without groups.
                case(json!({"security_groups": []}), "port_security_enabled", json!(false)),
            ]
        }
        "openstack.floating_ip" => {
            let subnet = env.first("openstack.subnet");
            let addresses = ["10.97.4.50", "10.97.4.51"];
            let addresses = addresses.map(|ip| json!({"subnet_id": subnet, "ip_address": ip}));
            let network = env.first("openstack.network");
            let port = json!({"network_id": network, "fixed_ips": addresses});
            let port = env.create("openstack.port", port).await;
            let base = json!({"port_id": port, "fixed_ip_address": "10.97.4.50"});
            vec![case(base, "fixed_ip_address", json!("10.97.4.51"))]
        }
        "openstack.volume" => vec![case(none(), "volume_type", json!(direct_changes::VOLUME_TYPE))],
        _ => Vec::new(),
    }
}

/// The mutable fields: all of the schema but the immutable ones.
fn mutable(subject: &Subject) -> BTreeSet<String> {
    let spec = subject.spec();
    let fields = spec.schema["properties"].as_object().unwrap().keys();
    fields.filter(|name| !spec.immutable.contains(&format!("/{name}"))).cloned().collect()
}

/// All changes of a kind, one per field; those that cannot be reverted come last.
async fn all_cases(kind: &str, plans: &Plans, env: &mut Env) -> Vec<Case> {
    let mut all = cases(kind, env).await;
    for change in &plans.variations {
        let field = field(change);
        if !all.iter().any(|case| case.field == field) {
            all.push(case(json!({}), &field, change[&field].clone()));
        }
    }
    for change in &plans.one_way {
        let field = field(change);
        all.push(case(json!({}), &field, change[&field].clone()));
    }
    all
}

struct Drift<'a> {
    subject: &'a Subject,
    cloud: Cloud,
    id: ExternalId,
}

impl Drift<'_> {
    /// Changes one field by another client; expects the driver to report and correct it.
    async fn follows(&self, case: &Case, back: bool) {
        let (kind, field, subject) = (&self.subject.kind, case.field.as_str(), self.subject);
        println!("{kind}: {field}");
        let mut desired = subject.desired[0].clone();
        let observed = subject.present(&self.id).await.attributes;
        if desired.get(field).is_none() {
            // Only a managed field can drift.
            desired[field] = observed[field].clone();
        }
        for (name, value) in case.base.as_object().unwrap() {
            desired[name] = value.clone();
        }
        subject.update(&self.id, &desired).await.unwrap();
        assert_eq!(subject.plan(&self.id, &desired).await, Plan::Noop, "{kind}: {field}, before");

        let mut other = desired.clone();
        other[field] = case.value.clone();
        let value = &subject.checked(&other)[field];
        direct_changes::change(&self.cloud, kind.as_str(), &self.id, field, value).await;
        let named = Plan::Update { fields: vec![format!("/{field}")] };
        self.reaches(&desired, &named).await;
        let outcome = subject.update(&self.id, &desired).await;
        if back {
            outcome.unwrap();
            self.reaches(&desired, &Plan::Noop).await;
            subject.update(&self.id, &subject.desired[0]).await.unwrap();
        } else {
            let failure = outcome.expect_err("it cannot be taken back");
            assert!(!failure.message.is_empty(), "{kind}: {field}");
        }
    }

    /// Clears the owner key by another client; expects the driver to report and restore it.
    async fn mark_returns(&self) {
        let (entity, incarnation) = self.subject.key().parse().unwrap();
        let mark = format!("managed-entity.{entity}.{incarnation}");
        direct_changes::unmark(&self.cloud, self.subject.kind.as_str(), &self.id, &mark).await;
        let desired = &self.subject.desired[0];
        self.reaches(desired, &Plan::Update { fields: vec!["/owner_key".to_owned()] }).await;
        self.subject.update(&self.id, desired).await.unwrap();
        self.reaches(desired, &Plan::Noop).await;
        assert_eq!(self.subject.present(&self.id).await.owner_key, Some(self.subject.key()));
    }

    /// Waits for this plan.
    async fn reaches(&self, desired: &Value, wanted: &Plan) {
        let started = Instant::now();
        loop {
            let plan = self.subject.plan(&self.id, desired).await;
            if plan == *wanted {
                return;
            }
            assert!(matches!(plan, Plan::Noop | Plan::Update { .. }), "{plan:?}");
            assert!(started.elapsed() < CHANGE_TIMEOUT, "{}: {plan:?}", self.subject.kind);
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
}

/// Tests every mutable field of a kind, or only those that need an administrator.
async fn drifts(driver: &Arc<dyn Driver>, kind: &str, cloud: &str, plans: Plans, env: &mut Env) {
    let admins = |field: &str| ["shared", "router:external"].contains(&field);
    let is_admin = kind == "openstack.project" || std::env::var(ADMIN).is_ok_and(|a| a == cloud);
    let chosen = all_cases(kind, &plans, env).await;
    let one_way: Vec<_> = plans.one_way.iter().map(field).collect();
    let subject = plans.subject(driver, kind);
    let mut covered: BTreeSet<String> = chosen.iter().map(|case| case.field.clone()).collect();
    let untouched = UNTOUCHED.iter().filter(|(of, ..)| *of == kind);
    covered.extend(untouched.map(|(_, field, _)| (*field).to_owned()));
    let test = async {
        assert_eq!(covered, mutable(&subject), "{kind}: fields without a test");
        let id = subject.create(&subject.desired[0]).await.unwrap();
        let drift = Drift { subject: &subject, cloud: Cloud::named(cloud).await, id };
        // A backup consists of what carries its key.
        if kind != "openstack.backup" {
            drift.mark_returns().await;
        }
        for case in &chosen {
            if kind != "openstack.network" || is_admin == admins(&case.field) {
                drift.follows(case, !one_way.contains(&case.field)).await;
            }
        }
    };
    then_clean_up(test, async {
        subject.clear().await;
        env.clear().await;
        direct_changes::clean(kind).await;
    })
    .await;
}

/// The one field that a variation changes.
fn field(change: &Value) -> String {
    change.as_object().unwrap().keys().next().unwrap().clone()
}

macro_rules! drifts {
    ($($test:ident, $kind:literal: $plans:path;)*) => {
        const TRIED: &[&str] = &[$($kind),*];

        $(
            #[tokio::test]
            async fn $test() {
                let Some(driver) = cloud_for($kind) else { return };
                let variable = if $kind == "openstack.project" { ADMIN } else { "OS_CLOUD" };
                let cloud = std::env::var(variable).unwrap();
                let mut env = Env::new(&driver);
                let plans = $plans(&mut env).await;
                drifts(&driver, $kind, &cloud, plans, &mut env).await;
            }
        )*
    };
}

drifts! {
    every_field_of_a_network_is_put_back, "openstack.network": plans_network::network;
    every_field_of_a_subnet_is_put_back, "openstack.subnet": plans_network::subnet;
    every_field_of_a_volume_is_put_back, "openstack.volume": plans_storage_and_compute::volume;
    every_field_of_a_snapshot_is_put_back, "openstack.snapshot": plans_storage_and_compute::snapshot;
    every_field_of_a_security_group_is_put_back, "openstack.security_group": plans_network::security_group;
    every_field_of_a_port_is_put_back, "openstack.port": plans_network::port;
    every_field_of_a_router_is_put_back, "openstack.router": plans_network::router;
    every_field_of_a_floating_ip_is_put_back, "openstack.floating_ip": plans_network::floating_ip;
    every_field_of_an_image_is_put_back, "openstack.image": plans_storage_and_compute::image;
    every_field_of_a_server_is_put_back, "openstack.server": plans_storage_and_compute::server;
    every_field_of_a_project_is_put_back, "openstack.project": plans_storage_and_compute::project;
    every_field_of_a_backup_is_put_back, "openstack.backup": plans_storage_and_compute::backup;
}

#[tokio::test]
async fn what_only_an_administrator_changes_of_a_network_is_put_back_by_one() {
    let Some(driver) = cloud_for("openstack.project") else { return };
    let mut env = Env::new(&driver);
    let plans = plans_network::network(&mut env).await;
    let cloud = std::env::var(ADMIN).unwrap();
    drifts(&driver, "openstack.network", &cloud, plans, &mut env).await;
}

#[test]
fn every_kind_that_can_drift_is_tried() {
    for kind in stateward_drivers::kinds() {
        let fields = kind.schema["properties"].as_object().unwrap().len();
        let cloud = kind.name.as_str().starts_with("openstack.");
        let tried = TRIED.contains(&kind.name.as_str());
        assert!(!cloud || tried == (fields > kind.immutable.len()), "{}", kind.name);
    }
}
