use stateward_domain::failure::{ErrorClass, Failure};

use super::*;
use crate::http::ApiError;

mod cases;

use cases::{CASES, Case};

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
