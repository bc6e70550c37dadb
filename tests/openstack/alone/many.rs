//! Hundreds of objects at once, with eight requests at a time.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use super::super::cloud::Cloud;
use super::super::lifecycle::{manifest, reaches, unique};
use super::super::proxy::Proxy;
use crate::harness::{Client, Setup, text};

/// Number of objects, half of them volumes and half networks; `STATEWARD_TEST_MANY` overrides it.
const MANY: usize = 400;
/// The backend's configured `concurrency`: rounds at the same time, each with one request.
const CONCURRENCY: usize = 8;
/// Requests that may run beside the rounds: one of the sweep, one of the health check.
const BESIDE_ROUNDS: usize = 2;
/// Time limit for all of them together.
const WAIT_MAX: Duration = Duration::from_mins(15);

/// Raises the quotas of the project for `each` objects of a kind; returns the former ones.
async fn raised(admin: &Cloud, project: &str, each: usize) -> [Value; 2] {
    let (volume, network) = paths(project);
    let volumes = admin.ask(Method::GET, "volume", &volume, Value::Null).await;
    let networks = admin.ask(Method::GET, "network", &network, Value::Null).await;
    let was = [
        json!({"volumes": volumes["quota_set"]["volumes"], "gigabytes": volumes["quota_set"]["gigabytes"]}),
        json!({"network": networks["quota"]["network"]}),
    ];
    let more =
        [json!({"volumes": each + 20, "gigabytes": each + 1_000}), json!({"network": each + 100})];
    quotas(admin, project, more).await;
    was
}

fn paths(project: &str) -> (String, String) {
    (format!("/os-quota-sets/{project}"), format!("/v2.0/quotas/{project}"))
}

async fn quotas(admin: &Cloud, project: &str, [volumes, networks]: [Value; 2]) {
    let (volume, network) = paths(project);
    admin.ask(Method::PUT, "volume", &volume, json!({ "quota_set": volumes })).await;
    admin.ask(Method::PUT, "network", &network, json!({ "quota": networks })).await;
}

/// Waits until every entity is in a state.
async fn all_reach(client: &Client, ids: &[String], state: &str) {
    let started = Instant::now();
    for id in ids {
        reaches(client, id, state, WAIT_MAX.saturating_sub(started.elapsed())).await;
    }
}

/// Volumes and networks of this test in the cloud.
async fn left(cloud: &Cloud, name: &str) -> usize {
    let volumes = cloud.ask(Method::GET, "volume", "/volumes/detail", Value::Null).await;
    let networks = cloud.ask(Method::GET, "network", "/v2.0/networks", Value::Null).await;
    let lists = [&volumes["volumes"], &networks["networks"]];
    let rows = lists.into_iter().flat_map(|list| list.as_array().unwrap());
    rows.filter(|row| row["name"].as_str().is_some_and(|row| row.starts_with(name))).count()
}

/// Their whole lifecycle.
async fn lives(client: &Client, cloud: &Cloud, number: usize) {
    let name = unique("many");
    let mut ids = Vec::new();
    let started = Instant::now();
    for n in 0..number {
        let name = format!("{name}-{n}");
        let declared = match n % 2 {
            0 => manifest("volume", &name, json!({ "name": name, "size": 1 })),
            _ => manifest("network", &name, json!({ "name": name })),
        };
        let reply = client.send(Method::POST, "/v1/entities", Some(&declared), &[]).await.unwrap();
        assert!(reply.status.is_success(), "{:#}", reply.body);
        ids.push(text(&reply.body["entity"]["id"]));
    }
    all_reach(client, &ids, "ok").await;
    println!("{number} made in {:?}", started.elapsed());
    assert_eq!(left(cloud, &name).await, number, "one each");
    let started = Instant::now();
    for id in &ids {
        let path = format!("/v1/entities/{id}");
        let reply = client.send(Method::DELETE, &path, None, &[]).await.unwrap();
        assert!(reply.status.is_success(), "{:#}", reply.body);
    }
    all_reach(client, &ids, "deleted").await;
    println!("{number} deleted in {:?}", started.elapsed());
    assert_eq!(left(cloud, &name).await, 0, "left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_volumes_and_networks_are_made_and_deleted_eight_requests_at_a_time() {
    let Some(cloud) = Cloud::wanted().await else { return };
    let Some(admin) = Cloud::admin().await else { return };
    let number = std::env::var("STATEWARD_TEST_MANY").ok();
    let number = number.map_or(MANY, |number| number.parse().expect("a number"));
    let proxy = Proxy::before(&cloud).await;
    // Default leases: no server dies here, and the cloud is slow with this many objects.
    let config = format!(
        "[backends.cloud]\ndriver = \"openstack\"\ncloud = \"{}\"\nauth_url = \"{}\"\n\
         concurrency = {CONCURRENCY}\n",
        cloud.name, proxy.auth_url
    );
    let setup = Setup::new(&config);
    let server = setup.start().await;
    let project = cloud.project().to_owned();
    let was = raised(&admin, &project, number).await;
    let client = server.client.clone();
    let outcome = tokio::spawn(async move { lives(&client, &cloud, number).await }).await;
    // Whatever the result: other users share the quotas.
    quotas(&admin, &project, was).await;
    outcome.unwrap();
    let most = proxy.trap.most_at_once();
    println!("{most} requests at once at most");
    assert!((2..=CONCURRENCY + BESIDE_ROUNDS).contains(&most), "{most} requests at once");
}
