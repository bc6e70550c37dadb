//! Maps a refused request to an [`ErrorKind`] by one table; the first row that matches wins.
//!
//! Rows match the status and the service's own error name. They match the error text only where nothing else
//! distinguishes two cases; the words were then seen on the wire.
//!
//! Invariant: no row concerns the whole backend. Other services, and other objects of the same one, may be well, and a
//! health check, which only logs in, would find no fault. So no row is `Unauthorized` or `Misconfigured`; only `login`
//! returns these.

use super::response::ErrorBody;
use crate::http::ErrorKind::{
    self, AlreadyDone, Ambiguous, Blocked, Bug, Conflict, Exists, Forbidden, Immutable, Invalid,
    Missing, NoReference, NotFound, Quota, Transient, Unauthenticated, Unsupported,
};
use crate::openstack::service::Service;
use Pattern::{Any, Has, Is, Says, Unshaped};
use Service::{Compute, Identity, Image, Network, Volume};

/// How a reply is matched beside its status.
#[derive(Clone, Copy)]
enum Pattern {
    Any,
    /// The body has no error format of a service: a proxy or gateway answered.
    Unshaped,
    /// The error's name.
    Is(&'static str),
    /// A part of the error's name.
    Has(&'static str),
    /// A part of the error text, in lower case.
    Says(&'static str),
}

type Row = (Option<Service>, u16, Pattern, ErrorKind, &'static str);

const ROWS: &[Row] = &[
    (None, 401, Any, Unauthenticated, "unauthenticated"),
    // A proxy or gateway does not know the path; that proves no absence.
    (None, 404, Unshaped, Transient, "not_routed"),
    // The text of the services' own routers, and of a Neutron policy that hides an object.
    (None, 404, Says("the resource could not be found"), Transient, "not_routed"),
    // Out of quota or capacity.
    (Some(Volume), 413, Is("overLimit"), Quota, "quota_exceeded"),
    (Some(Compute), 403, Says("quota exceeded"), Quota, "quota_exceeded"),
    (Some(Compute), 413, Is("overLimit"), Quota, "quota_exceeded"),
    (Some(Network), 409, Is("OverQuota"), Quota, "quota_exceeded"),
    (Some(Network), 503, Is("NoNetworkAvailable"), Quota, "no_segment_left"),
    (Some(Network), 409, Is("IpAddressGenerationFailure"), Quota, "no_address_left"),
    (Some(Image), 413, Any, Quota, "quota_exceeded"),
    // Neutron, by the error's `type`.
    (Some(Network), 409, Is("IpAddressAlreadyAllocated"), Blocked, "address_taken"),
    (Some(Network), 409, Is("MacAddressInUse"), Blocked, "mac_address_taken"),
    (Some(Network), 409, Is("SecurityGroupRuleExists"), Exists, "rule_exists"),
    (Some(Network), 409, Is("GatewayConflictWithAllocationPools"), Invalid, "gateway_in_pool"),
    (Some(Network), 409, Has("PortSecurity"), Invalid, "port_security"),
    (Some(Network), 409, Has("InUse"), Blocked, "in_use"),
    (Some(Network), 409, Is("FloatingIPPortAlreadyAssociated"), Blocked, "in_use"),
    (Some(Network), 409, Any, Conflict, "conflict"),
    (Some(Network), 404, Is("ExternalGatewayForFloatingIPNotFound"), Missing, "no_gateway"),
    (Some(Network), 404, Any, NotFound, "not_found"),
    (Some(Network), 400, Says("cannot update read-only attribute"), Immutable, "immutable"),
    (Some(Network), 400, Says("already has a port on subnet"), AlreadyDone, "already_done"),
    (Some(Network), 400, Says("has no fixed ipv4 addresses"), Missing, "no_address"),
    (Some(Network), 400, Any, Invalid, "invalid"),
    (Some(Network), 412, Any, Conflict, "changed_meanwhile"),
    // Cinder reports a wrong state as 400; it has no 409.
    (Some(Volume), 400, Says("unable to access requested image"), Transient, "image_unavailable"),
    (Some(Volume), 400, Says("invalid volume:"), Conflict, "wrong_state"),
    (Some(Volume), 400, Says("invalid snapshot:"), Conflict, "wrong_state"),
    (Some(Volume), 400, Says("is not active"), Missing, "image_not_active"),
    (Some(Volume), 400, Any, Invalid, "invalid"),
    (Some(Volume), 404, Any, NotFound, "not_found"),
    // Nova.
    (Some(Compute), 400, Says("could not be found"), NoReference, "reference_not_found"),
    (Some(Compute), 400, Says("can not find requested image"), NoReference, "reference_not_found"),
    (Some(Compute), 400, Says("invalid key_name"), NoReference, "reference_not_found"),
    (Some(Compute), 400, Says("requires a subnet"), Missing, "no_subnet"),
    (Some(Compute), 400, Says("requires a fixedip"), Missing, "no_address"),
    (Some(Compute), 400, Says("is not active"), Missing, "image_not_active"),
    (Some(Compute), 400, Any, Invalid, "invalid"),
    (Some(Compute), 404, Any, NotFound, "not_found"),
    (Some(Compute), 409, Says("still in use"), Blocked, "in_use"),
    (Some(Compute), 409, Says("is locked"), Forbidden, "locked"),
    (Some(Compute), 409, Says("multiple"), Invalid, "ambiguous_name"),
    (Some(Compute), 409, Says("already exists"), Exists, "taken"),
    (Some(Compute), 409, Any, Conflict, "wrong_state"),
    // Keystone and Glance.
    (Some(Identity), 409, Any, Exists, "taken"),
    (Some(Image), 409, Says("in use"), Blocked, "in_use"),
    (Some(Image), 409, Any, Conflict, "conflict"),
    (Some(Identity), 404, Any, NotFound, "not_found"),
    (Some(Image), 404, Any, NotFound, "not_found"),
    // All services.
    (None, 400, Any, Invalid, "invalid"),
    (None, 403, Any, Forbidden, "forbidden"),
    (None, 406, Any, Unsupported, "microversion_unsupported"),
    (None, 409, Any, Conflict, "conflict"),
    (None, 413, Any, Invalid, "too_large"),
    (None, 415, Any, Bug, "media_type_refused"),
    (None, 429, Any, ErrorKind::RateLimited(RATE_PAUSE_MS), "rate_limited"),
    // The service could not check the token and did nothing.
    (None, 503, Says("keystone service is temporarily unavailable"), Transient, "keystone_down"),
];

/// Pause after a 429 without `Retry-After`.
const RATE_PAUSE_MS: u64 = 10_000;
/// Upper bound of the pause that a header can ask for.
const RATE_PAUSE_MS_MAX: u64 = 3_600_000;

/// A reply with an error status.
pub(super) struct Refusal<'a> {
    pub(super) service: Service,
    pub(super) changes: bool,
    pub(super) status: u16,
    pub(super) error_body: Option<&'a ErrorBody>,
    /// Seconds of the header `Retry-After`.
    pub(super) retry_after: Option<u64>,
}

/// The error's kind and its stable code.
pub(super) fn classify(refusal: &Refusal<'_>) -> (ErrorKind, &'static str) {
    let pauses = matches!(refusal.status, 413 | 429 | 503);
    if let Some(seconds) = refusal.retry_after.filter(|seconds| pauses && *seconds > 0) {
        let after_ms = seconds.saturating_mul(1_000).min(RATE_PAUSE_MS_MAX);
        return (ErrorKind::RateLimited(after_ms), "rate_limited");
    }
    let row = ROWS.iter().find(|(service, status, pattern, _, _)| {
        service.is_none_or(|service| service == refusal.service)
            && *status == refusal.status
            && fits(*pattern, refusal.error_body)
    });
    match row {
        Some((_, _, _, kind, code)) => (*kind, code),
        None if refusal.status >= 500 && refusal.changes => (Ambiguous, "server_error"),
        None if refusal.status >= 500 => (Transient, "server_error"),
        None if refusal.status >= 400 => (Invalid, "refused"),
        None => (Unsupported, "redirected"),
    }
}

fn fits(pattern: Pattern, error_body: Option<&ErrorBody>) -> bool {
    match (pattern, error_body) {
        (Any, _) | (Unshaped, None) => true,
        (Unshaped, Some(_)) | (_, None) => false,
        (Is(name), Some(error_body)) => error_body.name == name,
        (Has(part), Some(error_body)) => error_body.name.contains(part),
        (Says(part), Some(error_body)) => error_body.message.to_lowercase().contains(part),
    }
}

#[cfg(test)]
mod tests;
