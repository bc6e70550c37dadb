//! The REST interface.
//!
//! `routes` has a folder for each noun and a file for each verb; `dto` has the bodies of requests and responses,
//! `schema` what only the `OpenAPI` document needs, `openapi` the document. `auth` authenticates and authorises
//! callers. `query_parser`, `position_parser`, `body` and `headers` read requests, `change_request` checks idempotency,
//! `change_response` responds to changes. `problem` formats errors, `error` maps those of the engine. `sse` streams
//! events to watchers, `middleware` surrounds every request.
//!
//! **Architecture invariant:** only this crate names actix and HTTP statuses. It decides nothing: every change goes
//! through `stateward-engine`.
//!
//! To add an endpoint: (1) a file with a `handler` in the noun's folder, (2) its line in the noun's `mod.rs`.
#![warn(missing_docs)]
#![expect(
    clippy::future_not_send,
    reason = "handlers live on one worker thread, with the request they hold"
)]

mod app_state;
mod auth;
mod body;
mod bounded_patch;
mod change_request;
mod change_response;
mod concurrency_limits;
mod connection_stream;
mod connections;
mod decompress;
mod dto;
mod echo_server;
mod error;
mod fair_semaphore;
mod headers;
mod in_flight;
pub mod json;
mod middleware;
mod openapi;
mod position_parser;
mod problem;
mod query_parser;
mod routes;
mod schema;
mod server;
pub mod server_proof;
mod sse;
mod tls;

pub use app_state::{AppParts, AppState, Histograms};
pub use auth::admin_token::AdminToken;
pub use concurrency_limits::LimitSettings;
pub use echo_server::serve_echo;
pub use server::{Server, serve};
pub use tls::{BadCertificate, Tls};
