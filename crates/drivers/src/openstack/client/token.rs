//! A token of Keystone.

use std::time::Duration;

use reqwest::Url;

use super::catalogue::Catalogue;
use crate::http::ApiError;
use crate::http::{Expiring, Secret};
use crate::openstack::cloud::Cloud;
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

impl Expiring for Token {
    fn value(&self) -> &str {
        self.value.reveal()
    }

    fn renew_at(&self) -> Duration {
        self.renew_at
    }
}
