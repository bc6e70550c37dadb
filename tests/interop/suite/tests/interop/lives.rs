//! Random lives of entities, which a server on PostgreSQL and a backend that fails at random write into a log.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::harness::{Client, Database, Server, Setup, text};

/// Lives of a run without `INTEROP_LIVES`.
const LIVES: usize = 100;
/// The first administrator's token of every server.
const TOKEN: &str = "stw_of-the-first-administrator";
/// Lives at the same time.
const CLIENTS: usize = 12;

/// A database with a log that random lives left, and nothing running on it.
pub(crate) struct Lived {
    pub(crate) database: Arc<Database>,
    /// Entities that were declared.
    pub(crate) lives: usize,
}

/// A backend whose calls fail at random, with short times.
pub(crate) const FAILING: &str = "[workers]\nsweep_interval = \"300ms\"\n\
    [backends.sandbox]\ndriver = \"fake\"\nconcurrency = 32\ndrift_interval = \"1s\"\n\
    error_rate = 0.15\nerrors = [\"transient\", \"ambiguous\", \"conflict\", \"not_found\", \"invalid\", \"immutable\", \
    \"quota_exceeded\", \"refused\", \"bug\"]\n\
    retry = { first = \"20ms\", max = \"200ms\" }\n\
    [backends.calm]\ndriver = \"fake\"\nretry = { first = \"20ms\", max = \"200ms\" }\n";

/// The log of the lives, which all tests share; `None`, and recorded as skipped, where PostgreSQL is missing.
pub(crate) async fn run() -> Option<&'static Lived> {
    static LIVED: OnceCell<Option<Lived>> = OnceCell::const_new();
    LIVED.get_or_init(begin).await.as_ref()
}

async fn begin() -> Option<Lived> {
    let database = Database::shared()?;
    let lives =
        std::env::var("INTEROP_LIVES").map_or(LIVES, |number| number.parse().expect("a number"));
    let seed = std::env::var("INTEROP_SEED").map_or(20, |number| number.parse().expect("a number"));
    println!("INTEROP_LIVES={lives} INTEROP_SEED={seed}");
    let setup = Setup::sharing(&database, FAILING, None);
    let mut server = setup.start().await;
    let began = Instant::now();
    let next = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (client, next) = (server.client.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= lives {
                        return;
                    }
                    let mut random = StdRng::seed_from_u64(seed + number as u64);
                    live(&client, number, &mut random).await;
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("a life");
    }
    println!("{lives} lives in {:?}", began.elapsed());
    assert!(server.terminate().await.success());
    Some(Lived { database, lives })
}

/// One entity: declared, changed, acted upon, and mostly deleted. Refusals are part of it.
async fn live(client: &Client, number: usize, random: &mut StdRng) {
    let backend = if random.random_bool(0.2) { "calm" } else { "sandbox" };
    let team = ["a", "b", "ü\"\\"].choose(random);
    let mut manifest = json!({
        "kind": "fake.thing", "name": format!("life-{number}"), "backend": backend,
        "desired": desired(random), "labels": { "team": team },
    });
    for (member, values) in [
        ("deletion_policy", ["delete", "delete", "orphan"]),
        ("drift_policy", ["correct", "report", "ignore"]),
        ("management_policy", ["full", "full", "observe_only"]),
        ("replace", ["never", "allowed", "never"]),
    ] {
        if random.random_bool(0.3) {
            manifest[member] = json!(values.choose(random));
        }
    }
    let reply = client.send(Method::POST, "/v1/entities", Some(&manifest), &[]).await;
    let reply = reply.expect("an answer");
    let id = text(&reply.body["entity"]["id"]);
    assert!(!id.is_empty(), "{:#}", reply.body);
    for _ in 0..random.random_range(2..9) {
        tokio::time::sleep(Duration::from_millis(random.random_range(0..60))).await;
        act(client, &id, random).await;
    }
    if random.random_bool(0.6) {
        let path = format!("/v1/entities/{id}");
        let _ = client.send(Method::DELETE, &path, None, &[]).await;
    }
}

async fn act(client: &Client, id: &str, random: &mut StdRng) {
    let path = format!("/v1/entities/{id}");
    let action = |verb: &str| format!("{path}/actions/{verb}");
    let merge = ("Content-Type", "application/merge-patch+json");
    let key = format!("{id}-{}", random.random_range(0..1_000_000));
    // A request without effect is recorded under its key.
    let keyed = ("Idempotency-Key", key.as_str());
    // May be an object that another entity has.
    let object = format!("thing-{:012x}", random.random_range(1..40));
    let (method, path, body, headers): (_, _, _, &[_]) = match random.random_range(0..20_usize) {
        0..5 => (Method::PATCH, path, json!({ "desired": desired(random) }), &[merge]),
        5 => (Method::PATCH, path, json!({ "labels": { "round": "2" } }), &[merge, keyed]),
        6 => {
            let settings = json!({ "replace": "allowed", "drift_policy": "report" });
            (Method::PATCH, path, settings, &[merge])
        }
        7 => (Method::PATCH, path, json!({ "protected": random.random_bool(0.3) }), &[merge]),
        8 => (Method::DELETE, path, Value::Null, &[]),
        9 | 10 => {
            // Cancels what is open, if anything is.
            let open = client.get(&format!("{path}/operations?state=open")).await;
            let open = text(&open.body["items"][0]["id"]);
            (Method::POST, format!("/v1/operations/{open}/cancel"), json!({}), &[])
        }
        11 | 12 => {
            let decision = ["give_up", "create", "adopt"].choose(random);
            let body = match decision {
                Some(&"adopt") => json!({ "decision": "adopt", "external_id": object }),
                decision => json!({ "decision": decision }),
            };
            (Method::POST, action("decide"), body, &[])
        }
        13 => (Method::POST, action("adopt"), json!({ "external_id": object }), &[]),
        14 | 15 => (Method::POST, action("pause"), json!({}), &[keyed]),
        number => {
            let verb = ["ping", "refresh", "retry", "resume"][number - 16];
            (Method::POST, action(verb), json!({}), &[keyed])
        }
    };
    let body = (!body.is_null()).then_some(&body);
    let reply = client.send(method, &path, body, headers).await.expect("an answer");
    assert!(reply.status.as_u16() < 500, "{path}: {} {:#}", reply.status, reply.body);
}

fn desired(random: &mut StdRng) -> Value {
    let text = ["", "naïve", "\u{1F980}", "a\"b\\c\n"].choose(random);
    let mut desired = json!({
        "size": random.random_range(0..5),
        "ratio": random.random_range(0.0..1.0),
        "text": text,
        "nested": { "deep": [1, null, { "x": u64::MAX }] },
    });
    if random.random_bool(0.2) {
        desired["immutable"] = json!(random.random_range(0..2));
    }
    match random.random_range(0..12) {
        0 => desired["_fake"] = json!({ "pending_ms": 80 }),
        1 => desired["_fake"] = json!({ "ignore_updates": true }),
        2 => desired["_fake"] = json!({ "fail": { "create": "invalid" }, "times": 1 }),
        3 => desired["_fake"] = json!({ "unready": "it warms up" }),
        4 | 5 => desired["_fake"] = json!({ "fail": { "create": "already_exists" }, "times": 9 }),
        _ => {}
    }
    desired
}

/// A server on `database`, for what is asked over REST; the next one has the same first administrator.
pub(crate) async fn served(database: &Arc<Database>, config: &str) -> (Setup, Server) {
    let config = format!("[server]\nadmin_token = {{ file = \"secret\" }}\n{config}");
    let setup = Setup::sharing(database, &config, Some(TOKEN));
    std::fs::write(setup.folder.path().join("secret"), TOKEN).expect("written");
    let server = setup.start().await;
    (setup, server)
}
