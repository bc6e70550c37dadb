//! A world in a process of its own, over HTTP: it outlives the control plane and counts its requests.
//!
//! `POST /ask` is for the driver. For tests: `GET /counts`, `PUT /control` (`{"down": bool, "latency_ms": n, "token":
//! text}`), `PUT /things/{id}` (attributes) and `DELETE /things/{id}`.

use std::convert::Infallible;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::world::{Counts, World, WorldRequest};

const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;
const CONNECTIONS_MAX: usize = 1_024;

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Control {
    down: bool,
    latency_ms: u64,
    /// Requests to `/ask` without this bearer token are refused; `None` = no token is needed.
    token: Option<String>,
}

#[derive(Serialize)]
struct CountsReply {
    #[serde(flatten)]
    counts: Counts,
    /// Highest number of concurrent requests of the driver so far.
    max_in_flight: u64,
    /// Requests of the driver.
    requests: u64,
}

struct Shared {
    world: Mutex<World>,
    control: Mutex<Control>,
    in_flight: AtomicU64,
    max_in_flight: AtomicU64,
    requests: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves an empty world on `listener` until `shutdown`.
///
/// # Errors
/// If the listener fails.
pub async fn serve_world(
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let shared = Arc::new(Shared {
        world: Mutex::new(World::new(format!("{:032x}", rand::random::<u128>()))),
        control: Mutex::default(),
        in_flight: AtomicU64::new(0),
        max_in_flight: AtomicU64::new(0),
        requests: AtomicU64::new(0),
    });
    let connection_slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted?.0,
            () = &mut shutdown => return Ok(()),
        };
        let Ok(slot) = Arc::clone(&connection_slots).acquire_owned().await else { return Ok(()) };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let answer = service_fn(move |request| answer(Arc::clone(&shared), request));
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer);
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection broke");
            }
            drop(slot);
        });
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_BYTES_MAX).collect().await else {
        return Ok(status(StatusCode::PAYLOAD_TOO_LARGE));
    };
    let body = body.to_bytes();
    let path = parts.uri.path().to_owned();
    Ok(match (&parts.method, path.as_str()) {
        (&Method::POST, "/ask") => {
            handle_request(&shared, parts.headers.get(AUTHORIZATION), &body).await
        }
        (&Method::GET, "/counts") => json(&CountsReply {
            counts: lock(&shared.world).counts(),
            max_in_flight: shared.max_in_flight.load(Ordering::Relaxed),
            requests: shared.requests.load(Ordering::Relaxed),
        }),
        (&Method::PUT, "/control") => match serde_json::from_slice(&body) {
            Ok(control) => {
                *lock(&shared.control) = control;
                status(StatusCode::NO_CONTENT)
            }
            Err(_) => status(StatusCode::BAD_REQUEST),
        },
        (method, path) => match path.strip_prefix("/things/") {
            Some(id) => handle_tampering(&shared, method, id, &body),
            None => status(StatusCode::NOT_FOUND),
        },
    })
}

async fn handle_request(
    shared: &Shared,
    shown: Option<&HeaderValue>,
    body: &[u8],
) -> Response<Full<Bytes>> {
    let control = lock(&shared.control).clone();
    if control.down {
        return status(StatusCode::SERVICE_UNAVAILABLE);
    }
    if let Some(token) = &control.token
        && shown.is_none_or(|shown| shown.as_bytes() != format!("Bearer {token}").as_bytes())
    {
        return status(StatusCode::UNAUTHORIZED);
    }
    let Ok(ask) = serde_json::from_slice::<WorldRequest>(body) else {
        return status(StatusCode::BAD_REQUEST);
    };
    let now = shared.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
    shared.max_in_flight.fetch_max(now, Ordering::Relaxed);
    shared.requests.fetch_add(1, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(control.latency_ms)).await;
    let reply = lock(&shared.world).handle(ask);
    shared.in_flight.fetch_sub(1, Ordering::Relaxed);
    json(&reply)
}

fn handle_tampering(
    shared: &Shared,
    method: &Method,
    id: &str,
    body: &[u8],
) -> Response<Full<Bytes>> {
    let mut world = lock(&shared.world);
    let id = id.to_owned();
    let done = match *method {
        Method::PUT => serde_json::from_slice::<Value>(body).is_ok_and(|a| world.tamper(&id, a)),
        Method::DELETE => {
            world.handle(WorldRequest::Delete { id });
            true
        }
        _ => false,
    };
    status(if done { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND })
}

fn json(value: &impl Serialize) -> Response<Full<Bytes>> {
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    Response::new(Full::new(Bytes::from(bytes)))
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
