//! Where each service is, from the token's catalogue.

use reqwest::Url;
use serde_json::Value;

use super::error::{ApiError, ErrorKind};
use crate::openstack::cloud::Cloud;

/// The services that kinds live in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::openstack) enum Service {
    Identity,
    Compute,
    Volume,
    Network,
    Image,
}

impl Service {
    const ALL: [Self; 5] =
        [Self::Identity, Self::Compute, Self::Volume, Self::Network, Self::Image];

    /// The types that catalogues list it under, the best first.
    const fn types(self) -> &'static [&'static str] {
        match self {
            Self::Identity => &["identity"],
            Self::Compute => &["compute"],
            Self::Volume => &["block-storage", "volumev3"],
            Self::Network => &["network"],
            Self::Image => &["image"],
        }
    }

    /// The part of the path that some catalogues leave out.
    const fn version(self) -> &'static str {
        match self {
            Self::Identity | Self::Volume => "v3",
            Self::Compute => "v2.1",
            Self::Network => "v2.0",
            Self::Image => "v2",
        }
    }

    /// Its word in the header `OpenStack-API-Version`, and the version that everything here is written for:
    /// that of Train, which every living cloud has.
    pub(super) const fn microversion(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Compute => Some(("compute", "2.79")),
            Self::Volume => Some(("volume", "3.59")),
            _ => None,
        }
    }

    /// Its name in messages.
    pub(in crate::openstack) const fn name(self) -> &'static str {
        match self {
            Self::Identity => "keystone",
            Self::Compute => "nova",
            Self::Volume => "cinder",
            Self::Network => "neutron",
            Self::Image => "glance",
        }
    }
}

/// The list that comes with a token.
pub(super) struct Catalogue(Vec<Value>);

impl Catalogue {
    pub(super) fn new(services: &Value) -> Self {
        Self(services.as_array().cloned().unwrap_or_default())
    }

    /// The address of a service in the cloud's region and interface.
    ///
    /// # Errors
    /// The catalogue does not have it: this cloud has no such service.
    pub(super) fn endpoint(&self, service: Service, cloud: &Cloud) -> Result<Url, ApiError> {
        let found = service.types().iter().find_map(|kind| self.of_type(kind, cloud));
        let address = found.and_then(|address| address.parse::<Url>().ok());
        let Some(mut url) = address.filter(|url| !url.cannot_be_a_base()) else {
            let region = cloud.region.as_deref().unwrap_or("any region");
            let message = format!(
                "the catalogue has no {} endpoint of {} in {region}",
                cloud.interface,
                service.name()
            );
            return Err(ApiError::harmless(ErrorKind::Unsupported, "no_endpoint", message));
        };
        if service == Service::Volume {
            // Its address ends with the project, so the version is never missing.
            return Ok(url);
        }
        with_version(&mut url, service.version());
        Ok(url)
    }

    /// Whether any service is in the cloud's region and interface. If none is, these are wrong.
    pub(super) fn has_any(&self, cloud: &Cloud) -> bool {
        Service::ALL.iter().any(|service| self.endpoint(*service, cloud).is_ok())
    }

    fn of_type(&self, kind: &str, cloud: &Cloud) -> Option<&str> {
        let services = self.0.iter().filter(|service| service["type"] == kind);
        let mut endpoints =
            services.flat_map(|service| service["endpoints"].as_array().into_iter().flatten());
        let endpoint = endpoints.find(|endpoint| {
            let region = endpoint["region_id"].as_str().or_else(|| endpoint["region"].as_str());
            endpoint["interface"] == *cloud.interface
                && cloud.region.as_deref().is_none_or(|wanted| region == Some(wanted))
        });
        endpoint?["url"].as_str()
    }
}

/// Ends the path with `version` unless it ends with a version already.
pub(in crate::openstack) fn with_version(url: &mut Url, version: &str) {
    let last = url.path().trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let versioned = last.strip_prefix('v').is_some_and(|rest| {
        rest.starts_with(|c: char| c.is_ascii_digit())
            && rest.bytes().all(|b| b.is_ascii_digit() || b == b'.')
    });
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty();
        if !versioned {
            path.push(version);
        }
    }
}
