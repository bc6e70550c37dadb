//! Faults that tests ask for.

use serde::{Deserialize, Serialize};

use super::call::Reply;

/// Faults kept; more are refused.
const FAULTS_MAX: usize = 1_000;

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The request takes effect, and the connection breaks before the reply.
    ReplyLost,
    /// The connection breaks before the request takes effect.
    RequestLost,
    /// No reply comes, and the request takes no effect; the connection stays open.
    Hang,
    /// The request takes effect after this many milliseconds.
    Delay(u64),
    /// 500 without effect.
    ServerError,
    /// 500 although the request took effect.
    ServerErrorAfterEffect,
    /// 503 without a body and without effect.
    EmptyError,
    /// 502 with the HTML page of a proxy, without effect.
    HtmlPage,
    /// 200 with the HTML page of a login form, without effect: a redirect that the client followed.
    LoginPage,
    /// A redirect to a login form on another host, without effect.
    LoginRedirect,
    /// The request takes effect, and the reply is cut in the middle.
    TruncatedJson,
    /// 401: the token was revoked.
    Unauthorized,
    /// 403 that asks for a CAPTCHA.
    Captcha,
    /// 403 without more.
    Forbidden,
    /// The credentials are ignored, so the caller is anonymous: lists are empty, objects do not exist, writes are refused.
    Anonymous,
    /// 429 with these seconds and this reason.
    RateLimited {
        /// Seconds to wait.
        retry_after: u64,
        /// `RateLimit-Reason`.
        reason: String,
    },
}

/// A fault of some of the next requests to the REST interface.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// Method of the requests; `None` = all.
    #[serde(default)]
    pub method: Option<String>,
    /// Text that the path with its query contains; empty = all.
    #[serde(default)]
    pub path: String,
    /// Matching requests that are spared first.
    #[serde(default)]
    pub skip: u32,
    /// Matching requests that fail then.
    #[serde(default = "one")]
    pub times: u32,
}

const fn one() -> u32 {
    1
}

impl Fault {
    /// A fault of the next request.
    #[must_use]
    pub const fn once(kind: FaultKind) -> Self {
        Self { kind, method: None, path: String::new(), skip: 0, times: 1 }
    }

    /// A fault of all requests until the faults are cleared.
    #[must_use]
    pub fn always(kind: FaultKind) -> Self {
        Self { times: u32::MAX, ..Self::once(kind) }
    }

    /// The same for requests with this method whose path contains `path`.
    #[must_use]
    pub fn at(self, method: &str, path: &str) -> Self {
        Self { method: Some(method.to_owned()), path: path.to_owned(), ..self }
    }
}

/// The faults that are to come.
#[derive(Default)]
pub(crate) struct Faults {
    pending: Vec<Fault>,
}

impl Faults {
    /// Adds a fault; returns false if there are too many.
    pub(crate) fn add(&mut self, fault: Fault) -> bool {
        let has_room = self.pending.len() < FAULTS_MAX;
        if has_room && fault.times > 0 {
            self.pending.push(fault);
        }
        has_room
    }

    pub(crate) fn clear(&mut self) {
        self.pending.clear();
    }

    /// Faults that did not come yet, or not as often as they should.
    pub(crate) fn pending(&self) -> &[Fault] {
        &self.pending
    }

    /// The fault of this request; each request meets one fault at most, the oldest.
    pub(crate) fn draw(&mut self, method: &str, path: &str) -> Option<FaultKind> {
        for at in 0..self.pending.len() {
            let fault = &mut self.pending[at];
            let is_method =
                fault.method.as_ref().is_none_or(|known| known.eq_ignore_ascii_case(method));
            if !is_method || !path.contains(&fault.path) {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            let kind = fault.kind.clone();
            if fault.times != u32::MAX {
                fault.times -= 1;
            }
            if fault.times == 0 {
                self.pending.remove(at);
            }
            return Some(kind);
        }
        None
    }
}

const LOGIN_PAGE: &str = "<!DOCTYPE html><html><head><title>Log in</title></head><body><form action=\"/login\"></form></body></html>";
const PROXY_PAGE: &str =
    "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>";

impl FaultKind {
    /// The reply that takes the place of the request; `None` = the request takes effect.
    pub(crate) fn instead(&self, base: &str) -> Option<Reply> {
        let html = "text/html;charset=UTF-8";
        let message = |status, text: &str| {
            Reply::json(status, &serde_json::json!({"errorMessages": [text], "errors": {}}))
        };
        Some(match self {
            Self::ServerError => message(500, "Internal server error"),
            Self::EmptyError => Reply::empty(503),
            Self::HtmlPage => Reply::text(502, html, PROXY_PAGE),
            Self::LoginPage => Reply::text(200, html, LOGIN_PAGE)
                .with("x-seraph-loginreason", "AUTHENTICATED_FAILED"),
            Self::LoginRedirect => Reply::empty(302)
                .with("location", "http://127.0.0.1:9/login.jsp?permissionViolation=true"),
            Self::Unauthorized => {
                Reply::text(401, html, "Client must be authenticated to access this resource.")
                    .with("www-authenticate", "OAuth realm=\"fake\"")
                    .with("x-seraph-loginreason", "AUTHENTICATED_FAILED")
            }
            Self::Captcha => Reply::text(403, html, "<html><body>Forbidden</body></html>")
                .with("x-seraph-loginreason", "AUTHENTICATION_DENIED")
                .with(
                    "x-authentication-denied-reason",
                    format!("CAPTCHA_CHALLENGE; login-url={base}/login.jsp"),
                ),
            Self::Forbidden => message(403, "You do not have permission to do that."),
            Self::RateLimited { retry_after, reason } => Reply::empty(429)
                .with("retry-after", retry_after.to_string())
                .with("ratelimit-reason", reason.clone()),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_comes_where_and_as_often_as_it_was_asked_for() {
        let mut faults = Faults::default();
        let fault = Fault::once(FaultKind::ServerError).at("POST", "/comment");
        faults.add(Fault { skip: 1, times: 2, ..fault });
        assert_eq!(faults.draw("GET", "/issue/1/comment"), None);
        assert_eq!(faults.draw("POST", "/issue/1"), None);
        assert_eq!(faults.draw("POST", "/issue/1/comment"), None);
        assert_eq!(faults.draw("POST", "/issue/1/comment"), Some(FaultKind::ServerError));
        assert_eq!(faults.draw("post", "/issue/1/comment"), Some(FaultKind::ServerError));
        assert_eq!(faults.draw("POST", "/issue/1/comment"), None);
        assert_eq!(faults.pending(), []);
        faults.add(Fault::always(FaultKind::Hang));
        assert!((0..9).all(|_| faults.draw("GET", "/").is_some()));
    }
}
