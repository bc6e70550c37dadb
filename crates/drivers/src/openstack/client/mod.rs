//! A thin client of OpenStack's APIs: sends one request, and classifies the reply.
//!
//! - Nothing is retried but a request that was refused because of its token: that had no effect.
//! - Every request ends by the deadline of its call; a change is sent only while the engine permits it.
//! - An error reply becomes an [`ApiError`] by one table, see `classify`.
//! - No error, log or `Debug` holds a token, a password or a body.

mod absence_proof;
mod catalogue;
mod classify;
mod login;
mod lost_plugs;
mod name_cache;
mod pagination;
mod request;
mod response;
mod send;
mod token;
mod unplugged_nics;

use std::sync::Arc;
use std::time::Duration;

use stateward_domain::ports::driver::CallContext;
use stateward_domain::time::SteadyClock;
use uuid::Uuid;

use super::NAME;
use super::cloud::Cloud;
use super::service::Service;
use crate::http::{self, Proxy, ReplyHistory, Session};
pub(super) use crate::http::{ApiError, ErrorKind};
use crate::settings::ConnectError;
use absence_proof::LostChanges;
use lost_plugs::LostPlugs;
use name_cache::NameCache;
pub(super) use name_cache::{NamePair, NamedResource};
pub(super) use pagination::Pagination;
pub(super) use request::{Body, Request};
use token::Token;
use unplugged_nics::Unplugged;

/// The connection to one cloud as one user in one project. Shared by all calls.
pub(super) struct Client {
    http: reqwest::Client,
    cloud: Cloud,
    clock: Arc<dyn SteadyClock>,
    session: Session<Token>,
    absence_proof: ReplyHistory<Service>,
    lost_changes: LostChanges,
    pub(super) name_cache: NameCache,
    pub(super) unplugged: Unplugged,
    pub(super) lost_plugs: LostPlugs,
}

impl Client {
    /// Prepares a client; sends nothing. `clock` measures the lives of tokens, lists and absences.
    ///
    /// # Errors
    /// If the CA file cannot be read.
    pub(super) fn new(cloud: Cloud, clock: Arc<dyn SteadyClock>) -> Result<Self, ConnectError> {
        let (url, authorities) = (&cloud.auth_url, cloud.cacert.as_deref());
        let http = http::client(NAME, url, authorities, Proxy::Environment)?;
        let (session, absence_proof, name_cache) =
            (Session::default(), ReplyHistory::default(), NameCache::default());
        let lost_changes = LostChanges::since(clock.elapsed());
        Ok(Self {
            http,
            cloud,
            clock,
            session,
            absence_proof,
            lost_changes,
            name_cache,
            unplugged: Unplugged::default(),
            lost_plugs: LostPlugs::default(),
        })
    }
}

/// The client within one call of the driver, with the call's deadline and permission.
#[derive(Clone, Copy)]
pub(super) struct CallClient<'a> {
    pub(super) shared: &'a Client,
    pub(super) context: &'a CallContext,
    /// Sent with every request of the call, so that the services' logs can be searched for it.
    call: Uuid,
}

impl<'a> CallClient<'a> {
    /// A client for one call.
    pub(super) fn new(shared: &'a Client, context: &'a CallContext) -> Self {
        let call = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
        Self { shared, context, call }
    }

    /// Steady time.
    pub(in crate::openstack) fn now(self) -> Duration {
        self.shared.clock.elapsed()
    }
}

#[cfg(test)]
mod tests;
