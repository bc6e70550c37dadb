use stateward_domain::failure::{ErrorClass, Failure};

use super::super::error::ApiError;
use super::*;

/// Service, status, error name and error text as seen on the wire; the expected kind and code.
type Case = (Service, u16, &'static str, &'static str, ErrorKind, &'static str);

/// One case for each row of the table.
const CASES: &[Case] = &[
    (
        Network,
        401,
        "error",
        "The request you have made requires authentication.",
        Unauthenticated,
        "unauthenticated",
    ),
    (Volume, 404, "", "", Transient, "not_routed"),
    (Network, 404, "HTTPNotFound", "The resource could not be found.", Transient, "not_routed"),
    (
        Volume,
        413,
        "overLimit",
        "VolumeLimitExceeded: Maximum number of volumes allowed (10) exceeded",
        Quota,
        "quota_exceeded",
    ),
    (
        Compute,
        403,
        "forbidden",
        "Quota exceeded for instances: Requested 1, but already used 10",
        Quota,
        "quota_exceeded",
    ),
    (Compute, 413, "overLimit", "Maximum number of key pairs exceeded", Quota, "quota_exceeded"),
    (
        Network,
        409,
        "OverQuota",
        "Quota exceeded for resources: ['network'].",
        Quota,
        "quota_exceeded",
    ),
    (
        Network,
        503,
        "NoNetworkAvailable",
        "Unable to create the network. No tenant network is available",
        Quota,
        "no_segment_left",
    ),
    (
        Network,
        409,
        "IpAddressGenerationFailure",
        "No more IP addresses available on network x.",
        Quota,
        "no_address_left",
    ),
    (
        Image,
        413,
        "Request Entity Too Large",
        "Denying attempt to upload image",
        Quota,
        "quota_exceeded",
    ),
    (
        Network,
        409,
        "IpAddressAlreadyAllocated",
        "IP address 10.0.0.5 already allocated",
        Blocked,
        "address_taken",
    ),
    (Network, 409, "MacAddressInUse", "Unable to complete operation", Blocked, "mac_address_taken"),
    (
        Network,
        409,
        "SecurityGroupRuleExists",
        "Security group rule already exists. Rule id is x.",
        Exists,
        "rule_exists",
    ),
    (
        Network,
        409,
        "GatewayConflictWithAllocationPools",
        "Gateway ip conflicts",
        Invalid,
        "gateway_in_pool",
    ),
    (
        Network,
        409,
        "AddressPairAndPortSecurityRequired",
        "Port Security must be enabled",
        Invalid,
        "port_security",
    ),
    (Network, 409, "NetworkInUse", "Unable to complete operation on network x.", Blocked, "in_use"),
    (
        Network,
        409,
        "FloatingIPPortAlreadyAssociated",
        "Cannot associate floating IP",
        Blocked,
        "in_use",
    ),
    (Network, 409, "SomethingNew", "whatever", Conflict, "conflict"),
    (
        Network,
        404,
        "ExternalGatewayForFloatingIPNotFound",
        "External network is not reachable",
        Missing,
        "no_gateway",
    ),
    (Network, 404, "NetworkNotFound", "Network x could not be found.", NotFound, "not_found"),
    (
        Network,
        400,
        "HTTPBadRequest",
        "Cannot update read-only attribute network_id",
        Immutable,
        "immutable",
    ),
    (
        Network,
        400,
        "BadRequest",
        "Bad router request: Router already has a port on subnet x.",
        AlreadyDone,
        "already_done",
    ),
    (
        Network,
        400,
        "BadRequest",
        "Bad floatingip request: Cannot add floating IP to port x that has no fixed IPv4 addresses.",
        Missing,
        "no_address",
    ),
    (Network, 400, "InvalidInput", "Invalid input for operation: overlaps", Invalid, "invalid"),
    (
        Network,
        412,
        "RevisionNumberConstraintFailed",
        "Constrained to 4, but current revision is 5",
        Conflict,
        "changed_meanwhile",
    ),
    (
        Volume,
        400,
        "badRequest",
        "Invalid image identifier or unable to access requested image.",
        Transient,
        "image_unavailable",
    ),
    (
        Volume,
        400,
        "badRequest",
        "Invalid volume: Volume status must be available or error",
        Conflict,
        "wrong_state",
    ),
    (
        Volume,
        400,
        "badRequest",
        "Invalid snapshot: Originating snapshot status",
        Conflict,
        "wrong_state",
    ),
    (
        Volume,
        400,
        "badRequest",
        "Invalid image metadata. Error: Image x is not active.",
        Missing,
        "image_not_active",
    ),
    (Volume, 400, "badRequest", "Invalid input for field/attribute size.", Invalid, "invalid"),
    (Volume, 404, "itemNotFound", "Volume x could not be found.", NotFound, "not_found"),
    (
        Compute,
        400,
        "badRequest",
        "Flavor 99 could not be found.",
        NoReference,
        "reference_not_found",
    ),
    (
        Compute,
        400,
        "badRequest",
        "Can not find requested image",
        NoReference,
        "reference_not_found",
    ),
    (Compute, 400, "badRequest", "Invalid key_name provided.", NoReference, "reference_not_found"),
    (
        Compute,
        400,
        "badRequest",
        "Network x requires a subnet in order to boot instances on.",
        Missing,
        "no_subnet",
    ),
    (
        Compute,
        400,
        "badRequest",
        "Port x requires a FixedIP in order to be used.",
        Missing,
        "no_address",
    ),
    (Compute, 400, "badRequest", "Image x is not active.", Missing, "image_not_active"),
    (
        Compute,
        400,
        "badRequest",
        "Flavor's memory is too small for requested image.",
        Invalid,
        "invalid",
    ),
    (Compute, 404, "itemNotFound", "Instance x could not be found.", NotFound, "not_found"),
    (Compute, 409, "conflictingRequest", "Port x is still in use.", Blocked, "in_use"),
    (Compute, 409, "conflictingRequest", "Instance x is locked", Forbidden, "locked"),
    (
        Compute,
        409,
        "conflictingRequest",
        "Multiple security_group matches found for name 'x'",
        Invalid,
        "ambiguous_name",
    ),
    (Compute, 409, "conflictingRequest", "Key pair 'x' already exists.", Exists, "taken"),
    (
        Compute,
        409,
        "conflictingRequest",
        "Cannot 'stop' instance x while it is in vm_state paused",
        Conflict,
        "wrong_state",
    ),
    (
        Identity,
        409,
        "error",
        "Conflict occurred attempting to store project - name is x",
        Exists,
        "taken",
    ),
    (
        Image,
        409,
        "Conflict",
        "Image x could not be deleted because it is in use",
        Blocked,
        "in_use",
    ),
    (Image, 409, "Conflict", "Image ID x already exists!", Conflict, "conflict"),
    (Identity, 404, "error", "Could not find project: x.", NotFound, "not_found"),
    (Image, 404, "Not Found", "No image found with ID x", NotFound, "not_found"),
    (Image, 400, "Bad Request", "Invalid image", Invalid, "invalid"),
    (Volume, 403, "forbidden", "Policy doesn't allow volume_extension", Forbidden, "forbidden"),
    (
        Compute,
        406,
        "computeFault",
        "Version 2.999 is not supported",
        Unsupported,
        "microversion_unsupported",
    ),
    (Volume, 409, "conflictingRequest", "whatever", Conflict, "conflict"),
    (Network, 413, "Request Entity Too Large", "Request is too large.", Invalid, "too_large"),
    (Image, 415, "Unsupported Media Type", "Unsupported", Bug, "media_type_refused"),
    (Image, 429, "Too Many Requests", "slow down", ErrorKind::RateLimited(10_000), "rate_limited"),
    (
        Compute,
        503,
        "Service Unavailable",
        "The Keystone service is temporarily unavailable.",
        Transient,
        "keystone_down",
    ),
];

fn refusal(case: &Case, error_body: Option<&ErrorBody>) -> (ErrorKind, &'static str) {
    let (service, status, ..) = *case;
    classify(&Refusal { service, changes: true, status, error_body, retry_after: Some(0) })
}

#[test]
fn each_row_means_what_it_says() {
    for case in CASES {
        let (_, _, name, message, kind, code) = *case;
        let error_body = ErrorBody { name: name.to_owned(), message: message.to_owned() };
        let error_body = Some(&error_body).filter(|error_body| !error_body.name.is_empty());
        assert_eq!(refusal(case, error_body), (kind, code), "{case:?}");
    }
}

#[test]
fn each_row_has_its_case() {
    for (index, (service, status, pattern, ..)) in ROWS.iter().enumerate() {
        let first = |case: &&Case| {
            let error_body = ErrorBody { name: case.2.to_owned(), message: case.3.to_owned() };
            let error_body = Some(&error_body).filter(|error_body| !error_body.name.is_empty());
            let row = ROWS.iter().position(|(service, status, pattern, _, _)| {
                service.is_none_or(|service| service == case.0)
                    && *status == case.1
                    && fits(*pattern, error_body)
            });
            row == Some(index)
        };
        let name = service.map(Service::name);
        let pattern = match pattern {
            Is(text) | Has(text) | Says(text) => text,
            Any => "any",
            Unshaped => "unshaped",
        };
        assert!(CASES.iter().any(|case| first(&case)), "no case for {name:?} {status} {pattern}");
    }
}

#[test]
fn a_quota_is_no_rate_limit_but_a_pause_is() {
    let of = |retry_after| {
        let error_body = ErrorBody { name: "overLimit".to_owned(), message: "x".to_owned() };
        classify(&Refusal {
            service: Volume,
            changes: true,
            status: 413,
            error_body: Some(&error_body),
            retry_after,
        })
    };
    assert_eq!(of(Some(0)), (Quota, "quota_exceeded"));
    assert_eq!(of(Some(3)), (ErrorKind::RateLimited(3_000), "rate_limited"));
    assert_eq!(of(Some(u64::MAX)).0, ErrorKind::RateLimited(RATE_PAUSE_MS_MAX));
}

#[test]
fn what_a_failing_server_was_asked_to_change_may_be_done() {
    for status in [500, 502, 503, 504] {
        let of = |changes| {
            classify(&Refusal {
                service: Compute,
                changes,
                status,
                error_body: None,
                retry_after: None,
            })
        };
        assert_eq!((of(true).0, of(false).0), (Ambiguous, Transient), "{status}");
    }
    let of = |status| {
        let refusal = Refusal {
            service: Compute,
            changes: true,
            status,
            error_body: None,
            retry_after: None,
        };
        classify(&refusal)
    };
    assert_eq!(of(418), (Invalid, "refused"));
    assert_eq!(of(302), (Unsupported, "redirected"));
}

/// No reply about an object makes the backend as a whole unusable.
#[test]
fn no_reply_of_a_service_is_about_the_whole_backend() {
    for service in [Identity, Compute, Volume, Network, Image] {
        for status in (300..=308).chain(400..=451).chain(500..=511) {
            for (name, message) in [("", ""), ("error", "whatever"), ("itemNotFound", "whatever")] {
                for changes in [false, true] {
                    let error_body =
                        ErrorBody { name: name.to_owned(), message: message.to_owned() };
                    let error_body =
                        Some(&error_body).filter(|error_body| !error_body.name.is_empty());
                    let refusal =
                        Refusal { service, changes, status, error_body, retry_after: None };
                    let (kind, code) = classify(&refusal);
                    let class = Failure::from(ApiError::harmless(kind, code, message)).class;
                    let closes = [ErrorClass::Unauthorized, ErrorClass::Misconfigured];
                    assert!(!closes.contains(&class), "{service:?} {status} {name} {code}");
                }
            }
        }
    }
}

/// Error classes of the statuses that many services share.
#[test]
fn each_status_has_its_class() {
    for (status, changes, expected) in [
        (401, false, ErrorClass::Transient),
        (403, true, ErrorClass::Refused),
        (404, false, ErrorClass::NotFound),
        (406, false, ErrorClass::Refused),
        (409, true, ErrorClass::Conflict),
        (413, true, ErrorClass::Invalid),
        (500, false, ErrorClass::Transient),
        (500, true, ErrorClass::Ambiguous),
        (502, true, ErrorClass::Ambiguous),
        (503, false, ErrorClass::Transient),
        (302, false, ErrorClass::Refused),
    ] {
        let error_body = ErrorBody { name: "anything".to_owned(), message: "Thing x".to_owned() };
        let refusal = Refusal {
            service: Network,
            changes,
            status,
            error_body: Some(&error_body),
            retry_after: None,
        };
        let (kind, code) = classify(&refusal);
        assert_eq!(Failure::from(ApiError::harmless(kind, code, "m")).class, expected, "{status}");
    }
    let limited = ErrorKind::RateLimited(RATE_PAUSE_MS);
    let limited = Failure::from(ApiError::harmless(limited, "rate_limited", "m"));
    assert_eq!(limited.class.name(), "rate_limited");
}
