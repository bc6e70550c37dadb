//! The simulated world: its things, requests and replies. The same code runs in memory and behind the HTTP server.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::fault_control::FaultControl;

/// Things of one page.
const PAGE_THINGS: usize = 500;
/// Pending jobs kept at most; the oldest are dropped.
const JOBS_MAX: usize = 100_000;

/// A thing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Thing {
    pub(super) id: String,
    pub(super) owner_key: Option<String>,
    pub(super) attributes: Value,
}

/// A request to a world. Not `Debug`: it may hold a password.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum WorldRequest {
    Identity,
    Observe { id: String },
    Find { owner_key: String },
    List { cursor: Option<String> },
    Create { owner_key: String, attributes: Value, password: Option<String> },
    Update { id: String, attributes: Value, password: Option<String> },
    Delete { id: String },
    Act { id: String, action: String },
    Resume { job: String },
    Cancel { job: String },
}

impl WorldRequest {
    /// Whether the request changes something.
    pub(super) const fn changes(&self) -> bool {
        matches!(
            self,
            Self::Create { .. } | Self::Update { .. } | Self::Delete { .. } | Self::Act { .. }
        )
    }
}

/// The reply to a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum WorldReply {
    Identity(String),
    Thing(Option<Thing>),
    Things { things: Vec<Thing>, cursor: Option<String> },
    Done { id: Option<String>, attributes: Value },
    Pending { job: String, id: Option<String>, poll_after_ms: u64 },
    Missing,
}

/// Counts of what was done; for tests.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Counts {
    /// Creations by owner key.
    pub(super) creates: BTreeMap<String, u64>,
    /// Actions by thing and action.
    pub(super) actions: BTreeMap<String, u64>,
    /// Things that exist.
    pub(super) objects: u64,
    /// SHA-256 of the last password of each thing, in hexadecimal: tests can compare it without reading the password.
    pub(super) passwords: BTreeMap<String, String>,
}

struct StoredThing {
    thing: Thing,
    visible_at: Instant,
}

struct WorldJob {
    ends_at: Instant,
    request: WorldRequest,
    /// Id of the thing to be created.
    id: Option<String>,
    /// The reply of a finished job, kept so that it can be sent again if it was lost.
    reply: Option<WorldReply>,
}

/// All things of one world.
pub(super) struct World {
    identity: String,
    things: BTreeMap<String, StoredThing>,
    jobs: BTreeMap<String, WorldJob>,
    counts: Counts,
    last: u64,
}

impl World {
    pub(super) fn new(identity: String) -> Self {
        Self {
            identity,
            things: BTreeMap::new(),
            jobs: BTreeMap::new(),
            counts: Counts::default(),
            last: 0,
        }
    }

    pub(super) fn counts(&self) -> Counts {
        Counts { objects: self.things.len() as u64, ..self.counts.clone() }
    }

    /// Replaces the attributes of a thing without the control plane; false if there is no such thing.
    pub(super) fn tamper(&mut self, id: &str, attributes: Value) -> bool {
        let held = self.things.get_mut(id);
        held.map(|held| held.thing.attributes = attributes).is_some()
    }

    /// Carries out a request, or starts a job for it.
    pub(super) fn handle(&mut self, request: WorldRequest) -> WorldReply {
        let pending = match &request {
            WorldRequest::Create { attributes, .. } | WorldRequest::Update { attributes, .. } => {
                FaultControl::of(attributes).pending_ms
            }
            WorldRequest::Delete { id } | WorldRequest::Act { id, .. } => {
                let thing = self.things.get(id);
                thing.and_then(|held| FaultControl::of(&held.thing.attributes).pending_ms)
            }
            _ => None,
        };
        match pending {
            Some(ms) => self.start_job(request, ms),
            None => self.apply(request, None),
        }
    }

    fn start_job(&mut self, request: WorldRequest, ms: u64) -> WorldReply {
        let job = format!("job-{:012}", self.next());
        let id = matches!(request, WorldRequest::Create { .. }).then(|| self.new_id());
        let ends_at = Instant::now() + Duration::from_millis(ms);
        if self.jobs.len() >= JOBS_MAX {
            self.jobs.pop_first();
        }
        self.jobs.insert(job.clone(), WorldJob { ends_at, request, id: id.clone(), reply: None });
        WorldReply::Pending { job, id, poll_after_ms: ms.min(200) }
    }

    fn apply(&mut self, request: WorldRequest, id: Option<String>) -> WorldReply {
        match request {
            WorldRequest::Identity => WorldReply::Identity(self.identity.clone()),
            WorldRequest::Observe { id } => {
                WorldReply::Thing(self.things.get(&id).map(|held| held.thing.clone()))
            }
            WorldRequest::Find { owner_key } => {
                self.page(None, |thing| thing.owner_key.as_deref() == Some(owner_key.as_str()))
            }
            WorldRequest::List { cursor } => self.page(cursor, |_| true),
            WorldRequest::Create { owner_key, attributes, password } => {
                self.create(owner_key, attributes, password, id)
            }
            WorldRequest::Update { id, attributes, password } => {
                self.update(id, attributes, password)
            }
            WorldRequest::Delete { id } => {
                self.things.remove(&id);
                WorldReply::Done { id: None, attributes: Value::Null }
            }
            WorldRequest::Act { id, action } => {
                if !self.things.contains_key(&id) {
                    return WorldReply::Missing;
                }
                *self.counts.actions.entry(format!("{id}/{action}")).or_default() += 1;
                WorldReply::Done { id: Some(id), attributes: Value::Null }
            }
            WorldRequest::Resume { job } => self.resume(&job),
            WorldRequest::Cancel { job } => {
                self.jobs.remove(&job);
                WorldReply::Done { id: None, attributes: Value::Null }
            }
        }
    }

    fn create(
        &mut self,
        owner_key: String,
        attributes: Value,
        password: Option<String>,
        id: Option<String>,
    ) -> WorldReply {
        let id = id.unwrap_or_else(|| self.new_id());
        self.record_password(&id, password);
        *self.counts.creates.entry(owner_key.clone()).or_default() += 1;
        let hidden = Duration::from_millis(FaultControl::of(&attributes).hide_ms.unwrap_or(0));
        let thing =
            Thing { id: id.clone(), owner_key: Some(owner_key), attributes: attributes.clone() };
        self.things.insert(id.clone(), StoredThing { thing, visible_at: Instant::now() + hidden });
        WorldReply::Done { id: Some(id), attributes }
    }

    fn update(&mut self, id: String, attributes: Value, password: Option<String>) -> WorldReply {
        if self.things.contains_key(&id) {
            self.record_password(&id, password);
        }
        let Some(held) = self.things.get_mut(&id) else { return WorldReply::Missing };
        if !FaultControl::of(&attributes).ignore_updates {
            held.thing.attributes = attributes.clone();
        }
        WorldReply::Done { id: Some(id), attributes }
    }

    fn record_password(&mut self, id: &str, password: Option<String>) {
        if let Some(password) = password {
            let digest = Sha256::digest(password);
            let digest = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            self.counts.passwords.insert(id.to_owned(), digest);
        }
    }

    fn resume(&mut self, name: &str) -> WorldReply {
        let Some(job) = self.jobs.get_mut(name) else { return WorldReply::Missing };
        if let Some(reply) = &job.reply {
            return reply.clone();
        }
        let left = job.ends_at.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            let poll_after_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX).clamp(10, 200);
            return WorldReply::Pending { job: name.to_owned(), id: job.id.clone(), poll_after_ms };
        }
        let (request, id) = (job.request.clone(), job.id.clone());
        let reply = self.apply(request, id);
        if let Some(job) = self.jobs.get_mut(name) {
            job.reply = Some(reply.clone());
        }
        reply
    }

    fn page(&self, cursor: Option<String>, fits: impl Fn(&Thing) -> bool) -> WorldReply {
        let now = Instant::now();
        let after = cursor.unwrap_or_default();
        let shown = self.things.values().filter(|held| held.visible_at <= now);
        let things = shown.map(|held| &held.thing).filter(|thing| thing.id > after && fits(thing));
        let things: Vec<Thing> = things.take(PAGE_THINGS).cloned().collect();
        let cursor =
            things.last().filter(|_| things.len() == PAGE_THINGS).map(|thing| thing.id.clone());
        WorldReply::Things { things, cursor }
    }

    fn new_id(&mut self) -> String {
        format!("thing-{:012}", self.next())
    }

    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}
