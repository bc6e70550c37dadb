//! A stub of a cloud: answers by a script, and records the requests.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// A received request.
#[derive(Clone, Debug)]
pub(in crate::openstack) struct Asked {
    pub(in crate::openstack) method: String,
    /// With the query.
    pub(in crate::openstack) path: String,
    pub(in crate::openstack) headers: HashMap<String, String>,
    pub(in crate::openstack) body: Value,
}

/// The answer of the script.
pub(in crate::openstack) enum Answer {
    Reply(u16, Vec<(&'static str, String)>, String),
    /// `{}`, once notified.
    Once(Arc<Notify>),
    /// No reply; the connection stays open.
    Never,
}

impl Answer {
    pub(in crate::openstack) fn json(status: u16, body: Value) -> Self {
        let echo = ("OpenStack-API-Version", "compute 2.79, volume 3.59".to_owned());
        let volume = ("OpenStack-API-Version", "volume 3.59".to_owned());
        let id = ("X-Openstack-Request-Id", "req-1".to_owned());
        Self::Reply(status, vec![echo, volume, id], body.to_string())
    }
}

type Script = dyn Fn(&Asked, usize) -> Answer + Send + Sync;

/// Runs until dropped.
pub(in crate::openstack) struct Stub {
    pub(in crate::openstack) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Stub {
    /// Answers logins with tokens valid for an hour, and everything else by `script`, which gets the number of earlier
    /// requests to the same path.
    pub(in crate::openstack) async fn new(
        script: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::with_life("PT1H", script).await
    }

    /// The same with another token lifetime.
    pub(in crate::openstack) async fn with_life(
        life: &'static str,
        script: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let script: Arc<Script> = {
            let url = url.clone();
            Arc::new(move |asked: &Asked, before| {
                let answer = script(asked, before);
                match answer {
                    Answer::Reply(0, ..) => token(&url, life, before),
                    other => other,
                }
            })
        };
        let task = tokio::spawn(serve(listener, asked.clone(), script));
        Self { url, asked, task }
    }

    /// Requests whose path starts with `path`.
    pub(in crate::openstack) fn asked(&self, path: &str) -> Vec<Asked> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|asked| asked.path.starts_with(path)).cloned().collect()
    }

    pub(in crate::openstack) fn logins(&self) -> usize {
        self.asked(LOGIN).len()
    }
}

pub(in crate::openstack) const LOGIN: &str = "/v3/auth/tokens";

/// Logins succeed; everything else is answered by `script`.
pub(in crate::openstack) async fn stub(
    script: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static,
) -> Stub {
    Stub::new(
        move |asked, before| {
            if asked.path == LOGIN { login() } else { script(asked, before) }
        },
    )
    .await
}

/// For scripts: the standard answer to a login.
pub(in crate::openstack) fn login() -> Answer {
    Answer::Reply(0, Vec::new(), String::new())
}

/// The n-th token has the value `token-n`.
fn token(url: &str, life: &str, before: usize) -> Answer {
    let issued: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let life: jiff::SignedDuration = life.parse().unwrap();
    let service = |kind: &str, url: String| {
        let endpoint = |interface: &str| {
            json!({"interface": interface, "region_id": "RegionOne", "url": if interface == "public" {
                url.clone()
            } else {
                "http://192.0.2.1/never".to_owned()
            }})
        };
        json!({"type": kind, "endpoints": [endpoint("internal"), endpoint("public")]})
    };
    // A region that has Neutron alone.
    let bare = json!({"type": "network", "endpoints": [
        {"interface": "public", "region_id": "RegionThree", "url": format!("{url}/network")},
    ]});
    let body = json!({"token": {
        "issued_at": issued.to_string(), "expires_at": (issued + life).to_string(),
        "project": {"id": "p1"}, "user": {"id": "u1"},
        "catalog": [
            service("compute", format!("{url}/compute/v2.1")),
            service("volumev3", format!("{url}/volume/v3/p1")),
            service("network", format!("{url}/network")),
            service("image", format!("{url}/image/")),
            service("identity", format!("{url}/identity")),
            bare,
        ],
    }});
    let headers = vec![("X-Subject-Token", format!("token-{}", before + 1))];
    Answer::Reply(201, headers, body.to_string())
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
        Answer::Once(said) => {
            said.notified().await;
            Answer::json(200, json!({}))
        }
        answer => answer,
    };
    match answer {
        Answer::Never | Answer::Once(_) => std::future::pending().await,
        Answer::Reply(status, headers, body) => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            Ok(response.body(Full::new(Bytes::from(body))).unwrap())
        }
    }
}
