//! The content of an image: compared by its digest, uploaded, or downloaded by the cloud.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha512};

use crate::openstack::client::{ApiError, Body, CallClient, Request};
use crate::openstack::service::Service;

/// Compares the content by its digest; it is never read back.
pub(super) fn same_content(observed: &Value, wanted: &Value) -> bool {
    let digest = wanted.as_str().and_then(decoded).map(|bytes| {
        Sha512::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    });
    // Only sha512 digests can be compared.
    let comparable = observed["os_hash_algo"] == "sha512";
    has_content(observed)
        && (!comparable || Some(&observed["os_hash_value"]) == digest.map(Value::from).as_ref())
}

/// Downloaded content cannot be compared; only its absence is a difference.
pub(super) fn same_source(observed: &Value, _: &Value) -> bool {
    has_content(observed)
}

pub(super) fn has_content(observed: &Value) -> bool {
    observed["status"] != "queued"
}

pub(super) fn decoded(content: &str) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(content).ok()
}

/// Uploads the content, or lets the cloud download it.
pub(super) async fn upload_content(
    client: CallClient<'_>,
    id: &str,
    spec: &Value,
) -> Result<(), ApiError> {
    if let Some(url) = spec.get("source_url") {
        let body = json!({"method": {"name": "web-download", "uri": url}});
        let path = ["images", id, "import"];
        return client.send(Request::post(Service::Image, &path, body)).await.map(drop);
    }
    let Some(content) = spec["content"].as_str().and_then(decoded) else { return Ok(()) };
    let request = Request::new(Service::Image, Method::PUT, &["images", id, "file"]);
    client.send(request.with(Body::Bytes(content))).await.map(drop)
}
