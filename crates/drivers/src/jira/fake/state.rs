//! A running site: the objects, limits, faults and the log of requests; one request at a time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HeaderMap};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;

use super::call::{Call, Reply, decoded, parameters};
use super::faults::{FaultKind, Faults};
use super::inventory;
use super::limits::{Limits, Refusal};
use super::login::{Login, Tokens};
use super::options::{Deployment, Options};
use super::routes::{attachments, router};
use super::world::World;

/// Requests of the log at most; the oldest are dropped.
const LOG_MAX: usize = 200_000;

/// A request that was received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LoggedRequest {
    /// Milliseconds since the fake started.
    pub at_ms: u64,
    /// Method.
    pub method: String,
    /// Path with its query, without the context path.
    pub path: String,
    /// Status of the reply; 0 = no reply was sent.
    pub status: u16,
    /// Name of the user; `None` = an anonymous caller.
    pub user: Option<String>,
}

/// A received request.
#[derive(Clone)]
pub(crate) struct Received {
    pub(crate) method: Method,
    /// Path without the context path.
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What happens to a request.
pub(crate) enum Outcome {
    Reply(Reply),
    /// The connection breaks.
    Broken,
    /// No reply comes.
    Silence,
    /// The request is to be handled after this time.
    Later(Duration),
}

/// A running site.
pub(crate) struct State {
    pub(crate) world: World,
    pub(crate) limits: Limits,
    pub(crate) faults: Faults,
    pub(crate) tokens: Tokens,
    pub(crate) log: VecDeque<LoggedRequest>,
    pub(crate) base: String,
    pub(crate) media: String,
    /// Requests for the contents of attachments that showed credentials, which belong to the site alone.
    pub(crate) leaked_credentials: u64,
    started: Instant,
}

/// The server's clock, without skew.
#[expect(clippy::disallowed_methods, reason = "the fake is a server with a clock of its own")]
fn clock() -> Timestamp {
    Timestamp::now()
}

impl State {
    pub(crate) fn new(options: Options, base: String, media: String) -> Self {
        Self {
            world: World::new(options),
            limits: Limits::default(),
            faults: Faults::default(),
            tokens: Tokens::default(),
            log: VecDeque::new(),
            base,
            media,
            leaked_credentials: 0,
            started: Instant::now(),
        }
    }

    fn is_cloud(&self) -> bool {
        self.world.options.deployment == Deployment::Cloud
    }

    /// The server's clock.
    pub(crate) fn time(&self) -> Timestamp {
        let skew = SignedDuration::from_secs(self.world.control.clock_skew_seconds);
        clock().checked_add(skew).unwrap_or(Timestamp::MAX)
    }

    /// Handles a request. `is_delayed`: it waited already, and meets no fault.
    pub(crate) fn handle(&mut self, request: &Received, is_delayed: bool) -> Outcome {
        let gateway = format!("/ex/jira/{}", self.world.cloud_id);
        let path = request.path.strip_prefix(&gateway).unwrap_or(&request.path).to_owned();
        match (request.method.as_str(), path.as_str()) {
            ("POST", "/oauth/token") if self.is_cloud() => {
                let reply = self.tokens.issue(&self.world.options, &request.body, Instant::now());
                return self.replied(request, reply, None);
            }
            ("GET", "/oauth/token/accessible-resources") if self.is_cloud() => {
                let reply = Reply::ok(inventory::accessible_resources(&self.world, &self.base));
                return self.replied(request, reply, None);
            }
            _ => (),
        }
        let rest = path.strip_prefix("/rest/api/").and_then(|rest| rest.split_once('/'));
        let (version, rest) = match rest {
            Some((version, rest)) => (version, rest.to_owned()),
            None => match path.strip_prefix("/secure/attachment/") {
                Some(rest) if !self.is_cloud() => ("secure", rest.to_owned()),
                _ => return self.replied(request, no_page(), None),
            },
        };
        let api = match (version, self.is_cloud()) {
            ("3", true) => 3,
            ("2" | "latest", _) | ("secure", false) => 2,
            _ => return self.replied(request, no_page(), None),
        };
        self.rest(request, api, &rest, version == "secure", is_delayed)
    }

    fn rest(
        &mut self,
        request: &Received,
        api: u8,
        rest: &str,
        is_file: bool,
        is_delayed: bool,
    ) -> Outcome {
        let now = Instant::now();
        let segments: Vec<_> = rest
            .split('/')
            .filter(|part| !part.is_empty())
            .map(|part| decoded(part, false))
            .collect();
        let mut fault = None;
        if !is_delayed {
            let written = self.written_issue(request, &segments, now);
            if let Err(refusal) = self.limits.admit(&self.world.options, now, written) {
                let reply = self.refused(&refusal);
                return self.replied(request, reply, None);
            }
            let path = format!("{}?{}", request.path, request.query);
            fault = self.faults.draw(request.method.as_str(), &path);
        }
        match &fault {
            Some(FaultKind::Delay(ms)) => return Outcome::Later(Duration::from_millis(*ms)),
            Some(FaultKind::RequestLost) => return self.unanswered(request, Outcome::Broken),
            Some(FaultKind::Hang) => return self.unanswered(request, Outcome::Silence),
            _ => (),
        }
        if let Some(reply) = fault.as_ref().and_then(|fault| fault.instead(&self.base)) {
            return self.replied(request, reply, None);
        }
        let header = request.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let login = match fault {
            Some(FaultKind::Anonymous) => Login::Anonymous,
            _ => self.tokens.login(header, &self.world.users, self.is_cloud(), now),
        };
        let user = match login {
            Login::Refused => return self.replied(request, Self::unauthenticated(), None),
            Login::Anonymous => None,
            Login::User(name) => Some(name),
        };
        let call = self.call(request, api, segments, user.clone());
        let reply = if is_file {
            let id = call.segments.first().cloned().unwrap_or_default();
            attachments::secure_file(&self.world, &call, &id).unwrap_or_else(Reply::from)
        } else {
            router::route(&mut self.world, &call)
        };
        match fault {
            Some(FaultKind::ReplyLost) => self.unanswered(request, Outcome::Broken),
            Some(FaultKind::ServerErrorAfterEffect) => {
                self.replied(request, Reply::empty(500), user)
            }
            Some(FaultKind::TruncatedJson) => {
                let body = reply.body.slice(..reply.body.len() / 2);
                self.replied(request, Reply { body, ..reply }, user)
            }
            _ => self.replied(request, reply, user),
        }
    }

    /// A call as `user`, past limits and faults.
    pub(crate) fn act(
        &mut self,
        user: &str,
        method: Method,
        path: &str,
        body: &Value,
    ) -> (u16, Value) {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let request = Received {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            headers: HeaderMap::new(),
            body,
        };
        let api = if self.is_cloud() { 3 } else { 2 };
        let segments = path.split('/').filter(|part| !part.is_empty());
        let segments = segments.map(|part| decoded(part, false)).collect();
        let call = self.call(&request, api, segments, Some(user.to_owned()));
        let reply = router::route(&mut self.world, &call);
        (reply.status, serde_json::from_slice(&reply.body).unwrap_or(Value::Null))
    }

    fn call(
        &self,
        request: &Received,
        api: u8,
        segments: Vec<String>,
        user: Option<String>,
    ) -> Call {
        Call {
            method: request.method.clone(),
            api,
            is_cloud: self.is_cloud(),
            segments,
            query: parameters(&request.query),
            headers: request.headers.clone(),
            body: request.body.clone(),
            user,
            base: self.base.clone(),
            media: self.media.clone(),
            now: Instant::now(),
            time: self.time(),
            utc_offset_hours: self.world.options.utc_offset_hours,
        }
    }

    /// The issue that a request writes to; Data Center has no limit on these.
    fn written_issue(&self, request: &Received, segments: &[String], now: Instant) -> Option<u64> {
        let name = match segments {
            [kind, name, ..] if kind == "issue" => name,
            _ => return None,
        };
        if request.method == Method::GET || !self.is_cloud() {
            return None;
        }
        self.world.view(now, false).issue(name).map(|issue| issue.id)
    }

    fn refused(&self, refusal: &Refusal) -> Reply {
        let seconds = refusal.retry_after.as_secs_f64().ceil().max(1.0);
        let reply = Reply::empty(429).with("retry-after", format!("{seconds}"));
        if !self.is_cloud() {
            return reply
                .with("x-ratelimit-limit", "10")
                .with("x-ratelimit-remaining", "0")
                .with("x-ratelimit-interval-seconds", "1")
                .with("x-ratelimit-fillrate", "10");
        }
        reply
            .with("ratelimit-reason", refusal.reason)
            .with("x-ratelimit-remaining", "0")
            .with("x-ratelimit-nearlimit", "true")
    }

    fn unauthenticated() -> Reply {
        let text = "Client must be authenticated to access this resource.";
        Reply::text(401, "text/plain;charset=UTF-8", text)
            .with("www-authenticate", "Basic realm=\"fake\"")
            .with("x-seraph-loginreason", "AUTHENTICATED_FAILED")
    }

    fn replied(&mut self, request: &Received, reply: Reply, user: Option<String>) -> Outcome {
        let id = format!("{:032x}", rand::random::<u128>());
        let reply = match (&user, self.is_cloud()) {
            (Some(user), false) => reply.with("x-ausername", user.clone()),
            (None, false) => reply.with("x-ausername", "anonymous"),
            _ => reply,
        };
        let name = if self.is_cloud() { "atl-traceid" } else { "x-arequestid" };
        self.record(request, reply.status, user);
        Outcome::Reply(reply.with(name, id))
    }

    fn unanswered(&mut self, request: &Received, outcome: Outcome) -> Outcome {
        self.record(request, 0, None);
        outcome
    }

    fn record(&mut self, request: &Received, status: u16, user: Option<String>) {
        if self.log.len() >= LOG_MAX {
            self.log.pop_front();
        }
        let query = if request.query.is_empty() { "" } else { "?" };
        self.log.push_back(LoggedRequest {
            at_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            method: request.method.to_string(),
            path: format!("{}{query}{}", request.path, request.query),
            status,
            user,
        });
    }
}

fn no_page() -> Reply {
    let page =
        "<html><head><title>Oops, you've found a dead link.</title></head><body></body></html>";
    Reply::text(404, "text/html;charset=UTF-8", page)
}
