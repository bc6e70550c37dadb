//! Who sends a request: Basic with e-mail address and API token, OAuth access tokens, personal access tokens.

use std::collections::BTreeMap;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::call::{Reply, parameters};
use super::options::Options;
use super::rows::User;

/// Client of OAuth 2.0 that acts as the user `bot`.
pub(crate) const CLIENT_ID: &str = "fake-client";
pub(crate) const CLIENT_SECRET: &str = "fake-client-secret";
/// Access tokens kept; the oldest are dropped.
const TOKENS_MAX: usize = 10_000;

/// The end of a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    /// No credentials were shown.
    Anonymous,
    User(String),
    Refused,
}

/// The access tokens that were issued.
#[derive(Default)]
pub(crate) struct Tokens {
    ends: BTreeMap<String, Instant>,
    issued: u64,
}

impl Tokens {
    /// Answers `POST /oauth/token`, with a JSON or a form body.
    pub(crate) fn issue(&mut self, options: &Options, body: &[u8], now: Instant) -> Reply {
        let text = String::from_utf8_lossy(body);
        let form = || {
            let pairs = parameters(&text).into_iter();
            Value::Object(pairs.map(|(name, value)| (name, json!(value))).collect())
        };
        let body: Value = serde_json::from_slice(body).unwrap_or_else(|_| form());
        let refusal = |error: &str| {
            Reply::json(401, &json!({"error": error, "error_description": "Unauthorized"}))
        };
        if body["grant_type"] != "client_credentials" {
            return Reply::json(400, &json!({"error": "unsupported_grant_type"}));
        }
        if body["client_id"] != CLIENT_ID || body["client_secret"] != CLIENT_SECRET {
            return refusal("access_denied");
        }
        self.issued += 1;
        let token = format!("access-{}-{:016x}", self.issued, rand::random::<u64>());
        if self.ends.len() >= TOKENS_MAX {
            self.ends.retain(|_, end| *end > now);
        }
        self.ends.insert(token.clone(), now + options.token_lifetime);
        Reply::ok(json!({
            "access_token": token, "token_type": "Bearer", "expires_in": options.token_lifetime.as_secs(),
            "scope": "read:jira-work write:jira-work read:jira-user manage:jira-project manage:jira-configuration",
        }))
    }

    /// Ends all access tokens.
    pub(crate) fn revoke(&mut self) {
        self.ends.clear();
    }

    /// Who shows this `Authorization` header.
    pub(crate) fn login(
        &self,
        header: Option<&str>,
        users: &[User],
        is_cloud: bool,
        now: Instant,
    ) -> Login {
        let Some(header) = header else { return Login::Anonymous };
        let (scheme, shown) = header.split_once(' ').unwrap_or((header, ""));
        let user = if scheme.eq_ignore_ascii_case("basic") {
            basic(shown.trim(), users, is_cloud)
        } else if !scheme.eq_ignore_ascii_case("bearer") {
            None
        } else if is_cloud {
            let is_valid = self.ends.get(shown.trim()).is_some_and(|end| *end > now);
            users.first().filter(|_| is_valid)
        } else {
            users.iter().find(|user| user.token == shown.trim())
        };
        let user = user.filter(|user| user.active);
        user.map_or(Login::Refused, |user| Login::User(user.name.clone()))
    }
}

fn basic<'a>(shown: &str, users: &'a [User], is_cloud: bool) -> Option<&'a User> {
    let decoded = String::from_utf8(STANDARD.decode(shown).ok()?).ok()?;
    let (name, secret) = decoded.split_once(':')?;
    users.iter().find(|user| {
        let known = if is_cloud { &user.email } else { &user.name };
        known == name && user.token == secret
    })
}
