//! A random concurrent history over three nodes, of which one is killed and one frozen for a while, is linearizable for
//! each name.

mod checker;
mod model;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::{Method, StatusCode};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::Nodes;
use crate::harness::{Client, Reply, text, thing};
use checker::{NotLinearizable, Timed, check};
use model::{Answer, Call, Id, Name, Shown};

const CLIENTS: u64 = 8;
const NAMES: usize = 4;
const NODES: usize = 3;
/// A request that takes longer has no answer.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// When a node is killed, when another is frozen, when that wakes up, and when the clients end.
const KILLED: Duration = Duration::from_secs(3);
const FROZEN: Duration = Duration::from_secs(5);
const WOKEN: Duration = Duration::from_secs(9);
const END: Duration = Duration::from_secs(12);

/// What the clients of a history share.
struct History {
    began: Instant,
    clients: Vec<Client>,
    is_killed: Vec<AtomicBool>,
    /// For each name, its calls.
    calls: Vec<Mutex<Vec<Timed<Call>>>>,
    /// For each name, what is known of its newest entity.
    newest: Vec<Mutex<Option<Known>>>,
    /// The last value that was used.
    values: AtomicU64,
}

#[derive(Clone)]
struct Known {
    id: Id,
    path: String,
    revision: u64,
    is_deleted: bool,
}

fn shown(entity: &Value) -> Shown {
    let number = |value: &Value| value.as_u64().expect("a number");
    Shown {
        revision: number(&entity["revision"]),
        value: number(&entity["desired"]["size"]),
        is_deleted: entity["state"] == "deleted",
    }
}

/// The answer that a reply to a change gives; none = it says nothing about the outcome.
fn answer(reply: Option<&Reply>) -> Answer {
    match reply {
        Some(reply) if reply.status.is_success() => Answer::Accepted(shown(&reply.body["entity"])),
        Some(reply) if reply.status == StatusCode::PRECONDITION_FAILED => Answer::AtAnotherRevision,
        Some(reply) if reply.status == StatusCode::CONFLICT => Answer::Conflict,
        Some(reply) if reply.status == StatusCode::SERVICE_UNAVAILABLE => Answer::Lost,
        None => Answer::Lost,
        Some(reply) => panic!("{}: {:#}", reply.status, reply.body),
    }
}

/// One of the clients, which sends a request at a time, each to the next node.
struct Caller {
    history: Arc<History>,
    chance: StdRng,
    sent: usize,
}

impl Caller {
    fn now(&self) -> u64 {
        u64::try_from(self.history.began.elapsed().as_micros()).expect("a short test")
    }

    /// `None` = no answer came.
    async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Option<Reply> {
        self.sent += 1;
        while self.history.is_killed[self.sent % NODES].load(Ordering::Relaxed) {
            self.sent += 1;
        }
        let client = &self.history.clients[self.sent % NODES];
        timeout(ANSWER_MAX, client.send(method, path, body, headers)).await.ok()?.ok()
    }

    fn record(&self, name: usize, call: Call, began: u64, answer: Answer) {
        let ended = (answer != Answer::Lost).then(|| self.now());
        self.history.calls[name].lock().unwrap().push(Timed { call, began, ended });
    }

    /// Remembers what a reply shows, for the next calls of all clients.
    fn learn(&self, name: usize, id: Id, path: &str, shown: Shown) {
        let mut newest = self.history.newest[name].lock().unwrap();
        let is_older = |known: &Known| id < known.id && !known.is_deleted;
        if !newest.as_ref().is_some_and(is_older) {
            let Shown { revision, is_deleted, .. } = shown;
            *newest = Some(Known { id, path: path.to_owned(), revision, is_deleted });
        }
    }

    /// Makes calls until the end of the history.
    async fn run(mut self) {
        while self.history.began.elapsed() < END {
            let name = self.chance.random_range(0..NAMES);
            let known = self.history.newest[name].lock().unwrap().clone();
            match (known, self.chance.random_range(0..100)) {
                (None, _) | (Some(Known { is_deleted: true, .. }), 0..50) => {
                    self.create(name).await;
                }
                (Some(known), 0..45) => self.read(name, &known).await,
                (Some(known), 45..68) => self.update(name, &known, None).await,
                (Some(known), 68..91) => self.update(name, &known, Some(known.revision)).await,
                (Some(known), 91..97) => self.delete(name, &known).await,
                (Some(_), _) => self.create(name).await,
            }
        }
    }

    fn value(&self) -> u64 {
        self.history.values.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Declares an entity, with the same key until an answer comes.
    async fn create(&mut self, name: usize) {
        let id = self.value();
        let body = thing(&format!("n{name}"), json!({ "size": id }));
        let (began, key) = (self.now(), id.to_string());
        let mut lost = false;
        loop {
            let again = self.now();
            let headers = [("Idempotency-Key", key.as_str())];
            let reply = self.send(Method::POST, "/v1/entities", Some(&body), &headers).await;
            match answer(reply.as_ref()) {
                Answer::Lost => lost = true,
                Answer::Conflict => {
                    self.record(
                        name,
                        Call::Create { id, answer: Answer::Conflict },
                        again,
                        Answer::Conflict,
                    );
                    if lost {
                        // A refusal takes no key: what was lost may be carried out later.
                        self.record(
                            name,
                            Call::Create { id, answer: Answer::Lost },
                            began,
                            Answer::Lost,
                        );
                    }
                    return self.find(name).await;
                }
                answer => {
                    self.record(name, Call::Create { id, answer }, began, answer);
                    let entity = &reply.expect("accepted").body["entity"];
                    let path = format!("/v1/entities/{}", text(&entity["id"]));
                    return self.learn(name, id, &path, shown(entity));
                }
            }
        }
    }

    /// Looks a name up, whose entity another client declared or a lost request did. Not part of the history: lists may be
    /// behind.
    async fn find(&mut self, name: usize) {
        let list = self.send(Method::GET, &format!("/v1/entities?name=n{name}"), None, &[]).await;
        let Some(entity) = list.map(|list| list.body["items"][0].clone()) else { return };
        let path = format!("/v1/entities/{}", text(&entity["id"]));
        let events = self.send(Method::GET, &format!("{path}/events?page_size=1"), None, &[]).await;
        let declared =
            events.map(|events| events.body["items"][0]["data"]["desired"]["size"].clone());
        if let Some(id) = declared.and_then(|size| size.as_u64()) {
            self.learn(name, id, &path, shown(&entity));
        }
    }

    async fn read(&mut self, name: usize, known: &Known) {
        let began = self.now();
        let Some(reply) = self.send(Method::GET, &known.path, None, &[]).await else { return };
        if reply.status == StatusCode::OK {
            let shown = shown(&reply.body);
            let call = Call::Read { id: known.id, shown };
            self.record(name, call, began, Answer::Accepted(shown));
            self.learn(name, known.id, &known.path, shown);
        } else {
            assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{:#}", reply.body);
        }
    }

    async fn update(&mut self, name: usize, known: &Known, if_revision: Option<u64>) {
        let value = self.value();
        let body = json!({ "desired": { "size": value } });
        let tag = if_revision.map(|revision| format!("\"{revision}\""));
        let headers: Vec<_> = tag.iter().map(|tag| ("If-Match", tag.as_str())).collect();
        let began = self.now();
        let reply = self.send(Method::PUT, &known.path, Some(&body), &headers).await;
        let answer = answer(reply.as_ref());
        let call = Call::Update { id: known.id, value, if_revision, answer };
        self.record(name, call, began, answer);
        if let Answer::Accepted(shown) = answer {
            self.learn(name, known.id, &known.path, shown);
        }
    }

    async fn delete(&mut self, name: usize, known: &Known) {
        let began = self.now();
        let reply = self.send(Method::DELETE, &known.path, None, &[]).await;
        let answer = answer(reply.as_ref());
        self.record(name, Call::Delete { id: known.id, answer }, began, answer);
    }
}

/// The calls around the point where no order goes on.
fn explain(calls: &[Timed<Call>], failed: &NotLinearizable<Option<model::Entity>>) -> String {
    let done: std::collections::BTreeSet<_> = failed.order.iter().copied().collect();
    let from = failed.order.len().saturating_sub(12);
    let mut lines = vec![format!("{} of {} calls, the last of them:", done.len(), calls.len())];
    lines.extend(failed.order[from..].iter().map(|index| format!("  {:?}", calls[*index])));
    lines.push(format!("leave {:?}, after which none fits of:", failed.state));
    let open = (0..calls.len()).filter(|index| !done.contains(index));
    lines.extend(open.take(12).map(|index| format!("  {:?}", calls[index])));
    lines.join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_with_a_killed_and_a_frozen_node_is_linearizable_for_each_name() {
    let Some(mut nodes) = Nodes::start(NODES).await else { return };
    let history = Arc::new(History {
        began: Instant::now(),
        clients: (0..NODES).map(|node| nodes.client(node).clone()).collect(),
        is_killed: (0..NODES).map(|_| AtomicBool::new(false)).collect(),
        calls: (0..NAMES).map(|_| Mutex::default()).collect(),
        newest: (0..NAMES).map(|_| Mutex::default()).collect(),
        values: AtomicU64::new(0),
    });
    let callers = (0..CLIENTS).map(|seed| {
        let (history, chance) = (Arc::clone(&history), StdRng::seed_from_u64(seed));
        tokio::spawn(Caller { history, chance, sent: usize::try_from(seed).unwrap() }.run())
    });
    let callers: Vec<_> = callers.collect();
    tokio::time::sleep_until(history.began + KILLED).await;
    history.is_killed[0].store(true, Ordering::Relaxed);
    nodes.servers[0].kill_now().await;
    tokio::time::sleep_until(history.began + FROZEN).await;
    kill_process(nodes.servers[1].pid(), Signal::STOP).unwrap();
    tokio::time::sleep_until(history.began + WOKEN).await;
    kill_process(nodes.servers[1].pid(), Signal::CONT).unwrap();
    for caller in callers {
        caller.await.unwrap();
    }
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, calls) in history.calls.iter().enumerate() {
        let mut calls = calls.lock().unwrap().clone();
        calls.sort_by_key(|timed| timed.began);
        for timed in &calls {
            let kind = match timed.call {
                _ if timed.ended.is_none() => "lost",
                Call::Create { answer: Answer::Accepted(_), .. } => "created",
                Call::Update { answer: Answer::Accepted(_), .. } => "updated",
                Call::Delete { answer: Answer::Accepted(_), .. } => "deleted",
                Call::Read { .. } => "read",
                _ => "refused",
            };
            *kinds.entry(kind).or_default() += 1;
        }
        if let Err(failed) = check::<Name>(&calls, None) {
            panic!("n{name}: {}", explain(&calls, &failed));
        }
    }
    println!("{kinds:?}");
    for kind in ["created", "updated", "deleted", "read", "refused"] {
        assert!(kinds.get(kind).is_some_and(|count| *count >= 4), "too few: {kinds:?}");
    }
    nodes.world.counts().await.assert_none_twice();
}
