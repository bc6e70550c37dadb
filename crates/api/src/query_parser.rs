//! Query parameters: each is taken by name, and any left over is refused.

use std::future::{Ready, ready};
use std::str::FromStr;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};

use crate::in_flight::InFlight;
use crate::problem::Problem;

/// Items of a page: default and maximum.
const PAGE_SIZE: usize = 50;
const PAGE_SIZE_MAX: usize = 1_000;

/// The query of one request.
pub(crate) struct Params {
    left: Vec<(String, String)>,
    /// The in-flight slot of the request.
    pub(crate) in_flight: InFlight,
}

impl FromRequest for Params {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let parsed = web::Query::<Vec<(String, String)>>::from_query(request.query_string());
        let parsed =
            parsed.map(|query| Self { left: query.into_inner(), in_flight: InFlight::of(request) });
        ready(parsed.map_err(|error| Problem::malformed("bad-query", error.to_string())))
    }
}

impl Params {
    /// Every value of `name`.
    pub(crate) fn all(&mut self, name: &str) -> Vec<String> {
        let (taken, left) =
            std::mem::take(&mut self.left).into_iter().partition(|(n, _)| n == name);
        self.left = left;
        taken.into_iter().map(|(_, value): (String, String)| value).collect()
    }

    /// The value of `name`; `None` when it is not there.
    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let mut values = self.all(name);
        if values.len() > 1 {
            let detail = format!("{name} may be given once");
            return Err(Problem::malformed("bad-parameter", detail));
        }
        Ok(values.pop())
    }

    /// The value of `name`, read as a `T`.
    pub(crate) fn value<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let bad = |_| Problem::malformed("bad-parameter", format!("{name} is not valid"));
        text.parse().map(Some).map_err(bad)
    }

    /// The size of the page.
    pub(crate) fn page_size(&mut self) -> Result<usize, Problem> {
        let Some(asked) = self.value::<i64>("page_size")? else { return Ok(PAGE_SIZE) };
        match usize::try_from(asked) {
            Ok(size) if size > 0 => Ok(size.min(PAGE_SIZE_MAX)),
            _ => Err(Problem::malformed("bad-parameter", "page_size is 1 or more")),
        }
    }

    /// Refuses parameters that were not taken.
    pub(crate) fn finish(&self) -> Result<(), Problem> {
        match self.left.first() {
            None => Ok(()),
            Some((name, _)) => {
                let detail = format!("there is no parameter {name}");
                Err(Problem::malformed("unknown-parameter", detail))
            }
        }
    }
}
