//! A thin client of OpenStack's APIs: it sends one request, and says what became of it.
//!
//! - Nothing is retried but a request that a worn-out token was refused for: that had no effect.
//! - Every request ends with the deadline of its call; one that changes something is sent only while it may be.
//! - A reply that is no success becomes [`Trouble`] by one table, see `classify`.
//! - No error, log or `Debug` holds a token, a password or a body.

mod bodies;
mod catalogue;
mod classify;
mod doubts;
mod login;
mod pages;
mod request;
mod send;
mod session;
mod trouble;

use std::time::Duration;

use stateward_domain::ports::driver::CallContext;
use uuid::Uuid;

use super::NAME;
use super::cloud::Cloud;
use super::names::Names;
use crate::http::is_this_machine;
use crate::settings::ConnectError;
pub(super) use catalogue::{Service, with_version};
use doubts::Doubts;
pub(super) use pages::Paging;
pub(super) use request::{Body, Request};
use session::Session;
pub(super) use trouble::{Trouble, Verdict};

/// A cloud that does not even take a connection is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// No single request is waited for longer, however much time its call has.
const TIMEOUT_MAX: Duration = Duration::from_mins(1);

/// One connection to one cloud as one user in one project. Shared by all calls.
pub(super) struct Client {
    http: reqwest::Client,
    cloud: Cloud,
    session: Session,
    doubts: Doubts,
    pub(super) names: Names,
}

impl Client {
    /// Prepares a client; sends nothing.
    ///
    /// # Errors
    /// A CA file that cannot be read.
    pub(super) fn new(cloud: Cloud) -> Result<Self, ConnectError> {
        let unusable = |message: String| ConnectError::Unusable { driver: NAME, message };
        let mut http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT_MAX)
            // A redirect would take the token to a place that nobody named.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("stateward/", env!("CARGO_PKG_VERSION")));
        if is_this_machine(&cloud.auth_url) {
            http = http.no_proxy();
        }
        if let Some(path) = &cloud.cacert {
            let refused = |what: String| unusable(format!("{}: {what}", path.display()));
            let pem = std::fs::read(path).map_err(|error| refused(error.to_string()))?;
            let authorities = reqwest::Certificate::from_pem_bundle(&pem).unwrap_or_default();
            if authorities.is_empty() {
                return Err(refused("holds no certificates".to_owned()));
            }
            http = http.tls_certs_only(authorities);
        }
        let http = http.build().map_err(|error| unusable(error.to_string()))?;
        let (session, doubts, names) = (Session::default(), Doubts::default(), Names::default());
        Ok(Self { http, cloud, session, doubts, names })
    }
}

/// The client within one call of the driver: deadline and permission are the call's.
#[derive(Clone, Copy)]
pub(super) struct Link<'a> {
    pub(super) client: &'a Client,
    pub(super) context: &'a CallContext,
    /// Goes with every request of the call, so that the services' logs can be searched for it.
    call: Uuid,
}

impl<'a> Link<'a> {
    /// For one call.
    pub(super) fn new(client: &'a Client, context: &'a CallContext) -> Self {
        let call = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
        Self { client, context, call }
    }
}

#[cfg(test)]
mod tests;
