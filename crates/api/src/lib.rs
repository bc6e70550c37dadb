//! The REST interface.
//!
//! `routes` has a folder for each noun and a file for each verb; `dto` is what goes over the wire; `problem` says
//! how errors look, `error` which status each has; `auth` knows the callers; `params`, `position`, `body` and `headers` read
//! requests, `asking` knows which of them were carried out before, `reply` writes the answers to changes, `sse` what
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

mod app;
mod asking;
mod auth;
mod body;
mod connections;
mod decompress;
mod dto;
mod echo;
mod error;
mod headers;
pub mod identity;
pub mod json;
mod limits;
mod observe;
mod openapi;
mod params;
mod patch;
mod position;
mod problem;
mod reply;
mod routes;
mod server;
mod shares;
mod sse;
mod stream;
mod tls;
mod turn;

pub use app::{App, Histograms, Parts};
pub use auth::AdminToken;
pub use echo::echo;
pub use limits::LimitSettings;
pub use server::{Server, serve};
pub use tls::{BadCertificate, Tls};
