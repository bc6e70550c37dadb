//! Endpoints of the services, from the catalogue in the token.

use reqwest::Url;
use serde_json::Value;

use crate::http::{ApiError, ErrorKind};
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

    /// Checks that each service has an endpoint in the cloud's region and interface.
    ///
    /// # Errors
    /// `Unsupported` with the names of those that have none.
    pub(super) fn check_all(&self, cloud: &Cloud) -> Result<(), ApiError> {
        let missing =
            Service::ALL.iter().filter(|service| self.endpoint(**service, cloud).is_err());
        let missing: Vec<_> = missing.map(|service| service.name()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let region = cloud.region.as_deref().unwrap_or("any region");
        let (interface, missing) = (&cloud.interface, missing.join(", "));
        let message = format!("the catalogue has no {interface} endpoint in {region} of {missing}");
        Err(ApiError::harmless(ErrorKind::Unsupported, "no_endpoint", message))
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::openstack::cloud::Environment;

    fn cloud(region: &str) -> Cloud {
        let settings = json!({
            "auth_url": "http://127.0.0.1:5000/v3", "username": "u", "password": "hush",
            "project_name": "p", "region_name": region,
        });
        let Value::Object(settings) = settings else { unreachable!("an object") };
        Cloud::resolve(&settings, &Environment { variable: |_| None }).unwrap()
    }

    #[test]
    fn services_without_an_endpoint_in_the_region_are_named() {
        let service = |kind: &str, regions: &[&str]| {
            let endpoint = |region: &&str| json!({ "interface": "public", "region_id": region, "url": "http://127.0.0.1:1" });
            json!({ "type": kind, "endpoints": regions.iter().map(endpoint).collect::<Vec<_>>() })
        };
        let both = &["one", "two"][..];
        let catalogue = Catalogue::new(&json!([
            service("identity", both),
            service("compute", both),
            service("network", both),
            service("block-storage", &["one"]),
            service("image", &["one"]),
        ]));
        assert!(catalogue.check_all(&cloud("one")).is_ok());
        let error = catalogue.check_all(&cloud("two")).unwrap_err();
        let expected = "the catalogue has no public endpoint in two of cinder, glance";
        assert_eq!((error.code, error.message.as_str()), ("no_endpoint", expected));
    }
}
