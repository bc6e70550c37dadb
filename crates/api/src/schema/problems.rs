//! Error responses in the `OpenAPI` document.

use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

/// A problem document (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = ProblemShape)]
pub(crate) struct ProblemSchema {
    /// Stable: `urn:stateward:problem:NAME`.
    #[serde(rename = "type")]
    kind: String,
    title: String,
    status: u16,
    detail: String,
    /// Faults of the body, when it has any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, inline)]
    errors: Vec<FaultSchema>,
}

/// One fault of a body.
#[derive(Serialize, ToSchema)]
#[schema(as = FaultShape)]
pub(crate) struct FaultSchema {
    /// JSON pointer.
    pointer: String,
    detail: String,
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident { $($status:literal $variant:ident $text:literal),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(IntoResponses)]
        #[expect(dead_code, reason = "only the document needs it")]
        pub(crate) enum $name {
            $(#[response(status = $status, description = $text, content_type = "application/problem+json")]
            $variant(#[to_schema] ProblemSchema),)*
        }
    )*};
}

refusals! {
    /// Of every request with a token.
    Refused {
        400 Malformed "Malformed: an unknown or bad parameter, header or body",
        401 Unauthorized "No, a wrong, an expired or a revoked token",
        403 Forbidden "The role is too low",
        429 TooMany "Too much waits, or this token asks too often",
        503 Unavailable "Try later",
    }
    /// Of what names a thing.
    Missing {
        404 NotFound "There is no such thing, or not for this caller",
    }
    /// Of reading the log from a position.
    Gone {
        410 Gone "The position is of another log, or ahead of this one",
    }
    /// Of what has a body.
    RefusedBody {
        408 Slow "The body did not come in time",
        413 TooLarge "The body is too large",
        415 MediaType "Another media type is needed",
        422 Unprocessable "The document is not acceptable; `errors` names each fault",
    }
    /// Of changes without a body.
    KeyReused {
        422 Reused "The idempotency key was used for another request",
    }
    /// Of changes.
    RefusedChange {
        409 Conflict "Taken, or not possible as things stand",
        412 Precondition "The entity is at another revision",

    }
    /// Of what may be taken already.
    Taken {
        409 Taken "Taken, or not possible as things stand",
    }
}
