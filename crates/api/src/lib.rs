//! The REST interface.
//!
//! `routes` has a folder for each noun and a file for each verb; `dto` is what goes over the wire; `problem` says
//! how errors look, `error` which status each has; `auth` knows the callers; `params`, `position`, `body` and `headers` read
//! requests, `change_request` knows which of them were carried out before, `reply` writes the answers to changes, `sse` what
//! watchers are sent.
//!
//! **Architecture invariant:** only this crate names actix, and only it knows HTTP statuses. It decides nothing:
//! whatever changes something goes through `stateward-engine`.
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
mod connections;
mod decompress;
mod dto;
mod echo_server;
mod error;
mod fair_semaphore;
mod headers;
mod in_flight;
pub mod json;
mod limits;
mod middleware;
mod openapi;
mod params;
mod position;
mod problem;
mod routes;
mod schema;
mod server;
pub mod server_proof;
mod sse;
mod stream;
mod tls;

pub use app_state::{AppParts, AppState, Histograms};
pub use auth::admin_token::AdminToken;
pub use echo_server::serve_echo;
pub use limits::LimitSettings;
pub use server::{Server, serve};
pub use tls::{BadCertificate, Tls};
