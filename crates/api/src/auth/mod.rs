//! Authentication and authorisation of callers.
//!
//! A token is compared by its digest, so that the duration of a refusal reveals nothing about it. What a caller may not
//! see is answered like what does not exist.

pub(crate) mod admin_token;
mod authenticate;
mod caller;
pub(crate) mod token_digest;

pub(crate) use caller::Caller;
