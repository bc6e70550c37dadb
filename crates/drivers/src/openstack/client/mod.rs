//! A thin client of OpenStack's APIs: it sends one request, and says what became of it.
//!
//! - Nothing is retried but a request that a worn-out token was refused for: that had no effect.
//! - Every request ends with the deadline of its call; one that changes something is sent only while it may be.
//! - A reply that is no success becomes [`ApiError`] by one table, see `classify`.
//! - No error, log or `Debug` holds a token, a password or a body.

mod absence_proof;
mod catalogue;
mod classify;
mod error;
mod login;
mod name_cache;
mod pagination;
mod request;
mod response;
mod send;
mod session;

use std::time::Duration;

use stateward_domain::ports::driver::CallContext;
use uuid::Uuid;

use super::NAME;
use super::cloud::Cloud;
use crate::http::is_this_machine;
use crate::settings::ConnectError;
use absence_proof::ReplyHistory;
pub(super) use error::{ApiError, ErrorKind};
use name_cache::NameCache;
pub(super) use name_cache::{NamePair, NamedResource};
pub(super) use pagination::Pagination;
pub(super) use request::{Body, Request};
use session::Session;

/// A cloud that does not even take a connection is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// No single request is waited for longer, however much time its call has.
const TIMEOUT_MAX: Duration = Duration::from_mins(1);

/// One connection to one cloud as one user in one project. Shared by all calls.
pub(super) struct Client {
    http: reqwest::Client,
    cloud: Cloud,
    session: Session,
    absence_proof: ReplyHistory,
    pub(super) name_cache: NameCache,
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
        let (session, absence_proof, name_cache) =
            (Session::default(), ReplyHistory::default(), NameCache::default());
        Ok(Self { http, cloud, session, absence_proof, name_cache })
    }
}

/// The client within one call of the driver: deadline and permission are the call's.
#[derive(Clone, Copy)]
pub(super) struct CallClient<'a> {
    pub(super) shared: &'a Client,
    pub(super) context: &'a CallContext,
    /// Goes with every request of the call, so that the services' logs can be searched for it.
    call: Uuid,
}

impl<'a> CallClient<'a> {
    /// For one call.
    pub(super) fn new(shared: &'a Client, context: &'a CallContext) -> Self {
        let call = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
        Self { shared, context, call }
    }
}

#[cfg(test)]
mod tests;
