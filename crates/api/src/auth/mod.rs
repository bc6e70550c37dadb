//! Who calls, and what they may do.
//!
//! A token is compared by its digest: nothing of it can be learnt from how long a refusal takes. What a caller may
//! not see is answered like what is not there.

pub(crate) mod admin_token;
mod authenticate;
mod caller;
pub(crate) mod token_digest;

pub(crate) use caller::Caller;
