//! The HTTP server of a fake JIRA, and the handle by which tests in the same process reach it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, DATE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::call::Reply;
use super::control::Control;
use super::faults::Fault;
use super::inventory::{Account, Inventory, accounts};
use super::limits::Rates;
use super::login::{CLIENT_ID, CLIENT_SECRET};
use super::options::Options;
use super::routes::attachments;
use super::state::{LoggedRequest, Outcome, Received, State};

const CONNECTIONS_MAX: usize = 1_024;
/// Bytes of a request beside those of an attachment.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

type Shared = Arc<Mutex<State>>;

fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The connection breaks without a reply.
#[derive(Debug, thiserror::Error)]
#[error("the connection is broken on purpose")]
struct Broken;

/// A fake JIRA that runs until it is dropped.
pub struct FakeJira {
    shared: Shared,
    url: String,
    media_url: String,
    servers: [JoinHandle<()>; 2],
}

impl Drop for FakeJira {
    fn drop(&mut self) {
        for server in &self.servers {
            server.abort();
        }
    }
}

impl FakeJira {
    /// Starts an empty site on a free port of the loopback interface.
    ///
    /// # Errors
    /// If no port can be listened on.
    pub async fn start(options: Options) -> std::io::Result<Self> {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), options).await
    }

    /// Starts an empty site at `address`; port 0 takes a free one. The contents of attachments are served on another
    /// free port of the same interface, like Cloud's other host.
    ///
    /// # Errors
    /// If `address` cannot be listened on.
    pub async fn start_at(address: SocketAddr, options: Options) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let media = TcpListener::bind(SocketAddr::new(address.ip(), 0)).await?;
        let context = format!("/{}", options.context_path.trim_matches('/'));
        let context = context.trim_end_matches('/').to_owned();
        let url = format!("http://{}{context}", listener.local_addr()?);
        let media_url = format!("http://{}", media.local_addr()?);
        let state = State::new(options, url.clone(), media_url.clone());
        let shared = Arc::new(Mutex::new(state));
        let servers = [
            tokio::spawn(serve(listener, Arc::clone(&shared), Some(context))),
            tokio::spawn(serve(media, Arc::clone(&shared), None)),
        ];
        Ok(Self { shared, url, media_url, servers })
    }

    /// Address of the site with its context path, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Address of the host that serves the contents of attachments.
    #[must_use]
    pub fn media_url(&self) -> &str {
        &self.media_url
    }

    /// Address of the gateway for OAuth 2.0 access tokens, which takes the place of [`Self::url`].
    #[must_use]
    pub fn gateway_url(&self) -> String {
        format!("{}/ex/jira/{}", self.url, lock(&self.shared).world.cloud_id)
    }

    /// Id and secret of the OAuth 2.0 client, which acts as the user `bot`; its tokens come from `/oauth/token`.
    #[must_use]
    pub fn oauth_client(&self) -> (&'static str, &'static str) {
        (CLIENT_ID, CLIENT_SECRET)
    }

    /// The users: `bot` (an administrator) comes first, then `alice`, `bob` and `other-tool`.
    #[must_use]
    pub fn accounts(&self) -> Vec<Account> {
        accounts(&lock(&self.shared).world)
    }

    /// What exists, without any lag.
    #[must_use]
    pub fn inventory(&self) -> Inventory {
        Inventory::of(&lock(&self.shared).world, Instant::now())
    }

    /// The requests so far, without those to `/_fake/`.
    #[must_use]
    pub fn requests(&self) -> Vec<LoggedRequest> {
        lock(&self.shared).log.iter().cloned().collect()
    }

    /// Forgets the requests and the rates so far.
    pub fn clear_requests(&self) {
        let mut state = lock(&self.shared);
        state.log.clear();
        state.limits.forget_rates();
    }

    /// The rates of the requests so far.
    #[must_use]
    pub fn rates(&self) -> Rates {
        lock(&self.shared).limits.rates()
    }

    /// Requests to the host of the attachments that showed credentials of the site.
    #[must_use]
    pub fn leaked_credentials(&self) -> u64 {
        lock(&self.shared).leaked_credentials
    }

    /// Adds a fault; each request meets one at most.
    ///
    /// # Panics
    /// If there are a thousand faults already.
    pub fn inject(&self, fault: Fault) {
        assert!(lock(&self.shared).faults.add(fault), "too many faults");
    }

    /// Removes all faults that did not come yet.
    pub fn clear_faults(&self) {
        lock(&self.shared).faults.clear();
    }

    /// Faults that did not come yet.
    #[must_use]
    pub fn pending_faults(&self) -> Vec<Fault> {
        lock(&self.shared).faults.pending().to_vec()
    }

    /// Changes the conditions of the site.
    pub fn control(&self, change: impl FnOnce(&mut Control)) {
        change(&mut lock(&self.shared).world.control);
    }

    /// Changes the settings of the site. The deployment and the context path must stay as they are.
    pub fn configure(&self, change: impl FnOnce(&mut Options)) {
        change(&mut lock(&self.shared).world.options);
    }

    /// Does what `user` would do by this call, past limits and faults: status and body of the reply. `path` follows
    /// `/rest/api/N/`.
    ///
    /// # Panics
    /// If `method` is not a method of HTTP.
    #[must_use]
    pub fn act(&self, user: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let Ok(method) = method.parse::<Method>() else { panic!("{method} is not a method") };
        lock(&self.shared).act(user, method, path, body)
    }

    /// Changes fields of an issue as the user `other-tool`, past limits and faults; returns the status.
    #[must_use]
    pub fn edit_elsewhere(&self, issue: &str, fields: &Value) -> u16 {
        self.act("other-tool", "PUT", &format!("issue/{issue}"), &json!({"fields": fields})).0
    }

    /// Moves an issue to another project; returns its new key, or `None` if one of them does not exist.
    #[must_use]
    pub fn move_issue(&self, issue: &str, project: &str) -> Option<String> {
        lock(&self.shared).move_issue(issue, project)
    }

    /// Shows or hides an issue, like a security level does.
    pub fn hide_issue(&self, id: u64, is_hidden: bool) {
        let mut state = lock(&self.shared);
        change_set(&mut state.world.control.hidden_issues, id, is_hidden);
    }

    /// Shows or hides a project, like a lost permission does.
    pub fn hide_project(&self, key: &str, is_hidden: bool) {
        let mut state = lock(&self.shared);
        change_set(&mut state.world.control.hidden_projects, key.to_owned(), is_hidden);
    }

    /// Activates or deactivates a user; returns false if there is no such user.
    #[must_use]
    pub fn set_active(&self, user: &str, active: bool) -> bool {
        lock(&self.shared).set_active(user, active)
    }

    /// Ends all OAuth access tokens.
    pub fn revoke_access_tokens(&self) {
        lock(&self.shared).tokens.revoke();
    }
}

fn change_set<T: Ord>(set: &mut BTreeSet<T>, item: T, is_in: bool) {
    if is_in {
        set.insert(item);
    } else {
        set.remove(&item);
    }
}

/// Serves a site below `context`, or, without one, the contents of its attachments.
async fn serve(listener: TcpListener, shared: Shared, context: Option<String>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let (shared, context) = (Arc::clone(&shared), context.clone());
        tokio::spawn(async move {
            serve_connection(stream, shared, context).await;
            drop(slot);
        });
    }
}

async fn serve_connection(stream: TcpStream, shared: Shared, context: Option<String>) {
    let service = service_fn(move |request| {
        let (shared, context) = (Arc::clone(&shared), context.clone());
        async move {
            match context {
                Some(context) => answer(shared, &context, request).await,
                None => Ok(media(&shared, &request)),
            }
        }
    });
    let http = hyper::server::conn::http1::Builder::new();
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection broke");
    }
}

async fn answer(
    shared: Shared,
    context: &str,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Broken> {
    let (parts, body) = request.into_parts();
    let largest = lock(&shared).world.options.attachment_bytes_max + BODY_BYTES_MAX;
    let Ok(body) = Limited::new(body, largest).collect().await else {
        return Ok(response(&shared, Reply::empty(413)));
    };
    let Some(path) = parts.uri.path().strip_prefix(context) else {
        return Ok(response(&shared, Reply::empty(404)));
    };
    let request = Received {
        method: parts.method,
        path: path.to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body: body.to_bytes(),
    };
    if let Some(path) = path.strip_prefix("/_fake/") {
        let reply = lock(&shared).operate(&request, path);
        return Ok(response(&shared, reply));
    }
    let mut outcome = lock(&shared).handle(&request, false);
    if let Outcome::Later(delay) = outcome {
        tokio::time::sleep(delay).await;
        outcome = lock(&shared).handle(&request, true);
    }
    match outcome {
        Outcome::Reply(reply) => Ok(response(&shared, reply)),
        Outcome::Silence => std::future::pending().await,
        Outcome::Broken | Outcome::Later(_) => Err(Broken),
    }
}

/// Serves the content of an attachment to a caller that shows its token, and no credentials.
fn media(shared: &Shared, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let mut state = lock(shared);
    let headers = request.headers();
    if headers.contains_key(AUTHORIZATION) || headers.contains_key(COOKIE) {
        state.leaked_credentials += 1;
    }
    let id = request.uri().path().strip_prefix("/file/").and_then(|rest| rest.split('/').next());
    let id = id.unwrap_or_default().to_owned();
    let has_token = request.uri().query() == Some(format!("token=t-{id}").as_str());
    let row = id.parse().ok().and_then(|id| state.world.attachments.get(id, Instant::now()));
    let reply = match row {
        Some(row) if has_token => attachments::file(row),
        _ => Reply::empty(403),
    };
    drop(state);
    response(shared, reply)
}

fn response(shared: &Shared, reply: Reply) -> Response<Full<Bytes>> {
    let date = jiff::fmt::rfc2822::DateTimePrinter::new();
    let date = date.timestamp_to_rfc9110_string(&lock(shared).time()).unwrap_or_default();
    let mut out = Response::builder().status(reply.status).header(DATE, date);
    if !reply.content_type.is_empty() {
        out = out.header(CONTENT_TYPE, reply.content_type);
    }
    for (name, value) in reply.headers {
        out = out.header(name, value);
    }
    out.body(Full::new(reply.body)).unwrap_or_else(|error| {
        tracing::debug!(%error, "a reply cannot be sent");
        let mut out = Response::new(Full::default());
        *out.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        out
    })
}
