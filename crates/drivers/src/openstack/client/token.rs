//! A token of Keystone.

use std::time::Duration;

use reqwest::Url;

use super::catalogue::Catalogue;
use super::error::ApiError;
use crate::openstack::cloud::{Cloud, Secret};
use crate::openstack::service::Service;

/// A token, with its catalogue.
pub(super) struct Token {
    pub(super) value: Secret,
    pub(super) catalogue: Catalogue,
    pub(super) project_id: String,
    /// By this process's steady clock, so that clocks need not agree.
    pub(super) renew_at: Duration,
}

impl Token {
    pub(super) fn endpoint(&self, service: Service, cloud: &Cloud) -> Result<Url, ApiError> {
        self.catalogue.endpoint(service, cloud)
    }
}

/// When to renew a token that was requested at `asked` and is valid for `life`.
pub(super) fn renew_at(asked: Duration, life: Duration) -> Duration {
    asked + life.mul_f64(0.75)
}
