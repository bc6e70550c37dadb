//! Endpoints of the services, from the catalogue in the token.

use reqwest::Url;
use serde_json::Value;

use super::error::{ApiError, ErrorKind};
use crate::openstack::cloud::Cloud;
use crate::openstack::service::{Service, append_version};

/// The service catalogue of a token.
pub(super) struct Catalogue(Vec<Value>);

impl Catalogue {
    pub(super) fn new(services: &Value) -> Self {
        Self(services.as_array().cloned().unwrap_or_default())
    }

    /// The endpoint of a service in the cloud's region and interface.
    ///
    /// # Errors
    /// `Unsupported` if the catalogue does not have it.
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
            // Cinder's endpoint ends with the project id, so it always has its version.
            return Ok(url);
        }
        append_version(&mut url, service.version());
        Ok(url)
    }

    /// Whether any service has an endpoint in the cloud's region and interface. If none has, these are wrong.
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
