//! Error responses, printed in one line that says what to do next.

use reqwest::StatusCode;
use serde_json::Value;

/// A response with a status other than 2xx (RFC 9457).
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    body: Value,
    /// Where the refused token was read from; `None` = the token is not the cause.
    token: Option<String>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, body: Value) -> Self {
        Self { status, body, token: None }
    }

    /// Adds where the token was read from, for status 401.
    pub(super) fn with_token_of(mut self, origin: &str) -> Self {
        self.token = (self.status == StatusCode::UNAUTHORIZED).then(|| origin.to_owned());
        self
    }

    /// Whether its type is `name`.
    pub(crate) fn is(&self, name: &str) -> bool {
        let kind = self.body["type"].as_str().unwrap_or_default();
        kind.strip_suffix(name).is_some_and(|prefix| prefix.ends_with(':'))
    }

    /// Id of the entity that holds the requested name; `None` when the response does not name it.
    pub(crate) fn holder(&self) -> Option<&str> {
        self.detail().rsplit(' ').next().filter(|id| id.len() == 36)
    }

    /// The field errors: JSON pointers into the request, with a message each.
    pub(crate) fn faults(&self) -> Vec<(&str, &str)> {
        let faults = self.body["errors"].as_array().into_iter().flatten();
        faults.filter_map(|it| Some((it["pointer"].as_str()?, it["detail"].as_str()?))).collect()
    }

    fn detail(&self) -> &str {
        self.body["detail"].as_str().unwrap_or_default()
    }

    fn advice(&self) -> Option<String> {
        Some(match self.status {
            StatusCode::UNAUTHORIZED => match &self.token {
                Some(origin) => format!("the token of {origin} was refused"),
                None => "no token was found: set STATEWARD_TOKEN or --token-file".to_owned(),
            },
            StatusCode::FORBIDDEN => {
                "ask an administrator for a token with that role (`stateward tokens issue`)"
                    .to_owned()
            }
            StatusCode::CONFLICT if self.is("protected") => {
                "`stateward protect --off` lifts it".to_owned()
            }
            StatusCode::UNPROCESSABLE_ENTITY if self.is("reason-required") => {
                "say why with --reason".to_owned()
            }
            _ => return None,
        })
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.status)?;
        if !self.detail().is_empty() {
            write!(f, ": {}", self.detail())?;
        }
        for fault in self.body["errors"].as_array().into_iter().flatten() {
            let text = |member: &str| fault[member].as_str().unwrap_or_default();
            write!(f, "; {} {}", text("pointer"), text("detail"))?;
        }
        match self.advice() {
            Some(advice) => write!(f, " ({advice})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}

/// The server did not answer, or with something that is no HTTP.
#[derive(Debug)]
pub(crate) struct Unreachable {
    url: String,
    why: String,
}

impl Unreachable {
    pub(super) fn new(url: &str, error: &reqwest::Error) -> Self {
        let mut cause: &dyn std::error::Error = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        let why =
            if error.is_timeout() { "no answer in time".to_owned() } else { cause.to_string() };
        Self { url: url.to_owned(), why }
    }
}

impl std::fmt::Display for Unreachable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { url, why } = self;
        write!(f, "{url} does not answer: {why}")?;
        if why.contains("certificate") || why.contains("UnknownIssuer") {
            return write!(f, " (name the authority of its certificate with --ca-file)");
        }
        write!(f, " (is `stateward serve` running there? --server names another)")
    }
}

impl std::error::Error for Unreachable {}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problem(status: u16, name: &str, detail: &str) -> Problem {
        let body = json!({ "type": format!("urn:stateward:problem:{name}"), "detail": detail });
        Problem::new(StatusCode::from_u16(status).unwrap(), body)
    }

    #[test]
    fn each_problem_is_one_line_with_what_to_do() {
        let lines = [
            problem(401, "unauthorized", "the token is not valid")
                .with_token_of("data/admin.token"),
            problem(401, "unauthorized", "a bearer token is needed"),
            problem(403, "forbidden", "this takes the role admin"),
            problem(409, "protected", "the entity is protected"),
            problem(422, "reason-required", "changes in this namespace need a reason"),
        ]
        .map(|problem| problem.to_string());
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn names_are_compared_as_a_whole() {
        assert!(problem(409, "name-taken", "").is("name-taken"));
        assert!(!problem(409, "identity-name-taken", "").is("name-taken"));
    }
}
