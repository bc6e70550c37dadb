//! For tests of clients: a server that answers by a script, and the engine's side of a call.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use stateward_domain::failure::Failure;
use stateward_domain::id::ExternalId;
use stateward_domain::ports::driver::CallControl;
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// A received request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// With the query.
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Value,
}

/// The answer of the script.
pub(crate) enum Answer {
    Reply(u16, Vec<(&'static str, String)>, String),
    /// That answer, once notified.
    Once(Arc<Notify>, Box<Self>),
    /// No reply; the connection stays open.
    Never,
}

type Script = dyn Fn(&Asked, usize) -> Answer + Send + Sync;

/// Runs until dropped.
pub(crate) struct Stub {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Stub {
    /// Answers by the script that `make` makes of the server's address; a script gets the number of earlier requests to
    /// the same path.
    pub(crate) async fn scripted<S>(make: impl FnOnce(&str) -> S) -> Self
    where
        S: Fn(&Asked, usize) -> Answer + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let script: Arc<Script> = Arc::new(make(&url));
        let task = tokio::spawn(serve(listener, asked.clone(), script));
        Self { url, asked, task }
    }

    /// Requests whose path starts with `path`.
    pub(crate) fn asked(&self, path: &str) -> Vec<Asked> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|asked| asked.path.starts_with(path)).cloned().collect()
    }
}

async fn serve(listener: TcpListener, asked: Arc<Mutex<Vec<Asked>>>, script: Arc<Script>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let (asked, script) = (asked.clone(), script.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, asked.clone(), script.clone()));
            let http = hyper::server::conn::http1::Builder::new();
            drop(http.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    log: Arc<Mutex<Vec<Asked>>>,
    script: Arc<Script>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let text = |value: &hyper::header::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let asked = Asked {
        method: parts.method.to_string(),
        path: parts.uri.to_string(),
        headers: parts
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect(),
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    };
    let before = {
        let mut log = log.lock().unwrap();
        let before = log.iter().filter(|known| known.path == asked.path).count();
        log.push(asked.clone());
        before
    };
    let answer = match script(&asked, before) {
        Answer::Once(said, answer) => {
            said.notified().await;
            *answer
        }
        answer => answer,
    };
    match answer {
        Answer::Never | Answer::Once(..) => std::future::pending().await,
        Answer::Reply(status, headers, body) => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            Ok(response.body(Full::new(Bytes::from(body))).unwrap())
        }
    }
}

/// The engine's side of a call.
pub(crate) struct Control {
    pub(crate) may_send: AtomicBool,
    ends: Mutex<Instant>,
    /// Notified when the remaining time is read.
    pub(crate) asked: Notify,
    pub(crate) recorded: Mutex<Vec<String>>,
}

#[async_trait]
impl CallControl for Control {
    fn may_send(&self) -> bool {
        self.may_send.load(Ordering::SeqCst)
    }

    fn remaining(&self) -> Duration {
        self.asked.notify_one();
        self.ends.lock().unwrap().saturating_duration_since(Instant::now())
    }

    async fn cancelled(&self) {
        std::future::pending::<()>().await;
    }

    async fn record_id(&self, id: &ExternalId) -> Result<(), Failure> {
        self.recorded.lock().unwrap().push(id.0.clone());
        Ok(())
    }
}

impl Control {
    /// Permits everything, for ten seconds.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            may_send: AtomicBool::new(true),
            ends: Mutex::new(Instant::now() + Duration::from_secs(10)),
            recorded: Mutex::default(),
            asked: Notify::new(),
        })
    }

    /// Sets the remaining time, from now.
    pub(crate) fn leave(&self, left: Duration) {
        *self.ends.lock().unwrap() = Instant::now() + left;
    }
}
