//! A closed-loop load generator: each connection sends its next request when it has the response.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::task::JoinSet;

use super::http::RawConnection;
use super::process_usage;

/// Digits of the number that makes each request unique.
const DIGITS: usize = 8;

/// A rendered request with a place for a number.
#[derive(Clone)]
pub(super) struct Template {
    bytes: Vec<u8>,
    /// Offset of the number's digits.
    at: usize,
}

impl Template {
    /// A POST of `body`, in which `{number}` stands for the number.
    pub(super) fn post(path: &str, headers: &str, body: &str) -> Self {
        let body = body.replace("{number}", &"0".repeat(DIGITS));
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n{headers}\
             content-length: {}\r\n\r\n",
            body.len()
        );
        let place = body.find(&"0".repeat(DIGITS)).unwrap_or_default();
        Self { at: head.len() + place, bytes: (head + &body).into_bytes() }
    }

    /// The request with this number.
    pub(super) fn numbered(&mut self, mut number: u64) -> &[u8] {
        for digit in self.bytes[self.at..self.at + DIGITS].iter_mut().rev() {
            *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
            number /= 10;
        }
        &self.bytes
    }
}

/// When the load ends.
#[derive(Clone, Copy)]
pub(super) enum LoadEnd {
    After(Duration),
    Requests(u64),
}

/// The result of a load.
pub(super) struct LoadResult {
    pub(super) requests: u64,
    pub(super) took: Duration,
    /// Processors that this process kept busy.
    pub(super) client_cpus: f64,
    /// Duration of each request.
    pub(super) times: Times,
}

/// Sends numbered requests over `connections` connections, which go to `addresses` in turn; each response must have `status`.
pub(super) async fn run(
    addresses: &[SocketAddr],
    connections: usize,
    enough: LoadEnd,
    template: &Template,
    status: u16,
) -> anyhow::Result<LoadResult> {
    let next = Arc::new(AtomicU64::new(0));
    let mut opened = Vec::with_capacity(connections);
    for address in addresses.iter().cycle().take(connections) {
        opened.push(RawConnection::open(*address).await?);
    }
    let cpu = process_usage::cpu("self")?;
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for connection in opened {
        let (next, template) = (Arc::clone(&next), template.clone());
        tasks.spawn(one(connection, next, template, began, enough, status));
    }
    let mut times = Times::default();
    while let Some(ended) = tasks.join_next().await {
        times.extend(ended.context("a client panicked")??);
    }
    let took = began.elapsed();
    let client = process_usage::cpu("self")?.saturating_sub(cpu);
    Ok(LoadResult {
        requests: times.len() as u64,
        took,
        client_cpus: client.as_secs_f64() / took.as_secs_f64().max(f64::EPSILON),
        times,
    })
}

async fn one(
    mut connection: RawConnection,
    next: Arc<AtomicU64>,
    mut template: Template,
    began: Instant,
    enough: LoadEnd,
    status: u16,
) -> anyhow::Result<Times> {
    let mut times = Times::default();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let before = Instant::now();
        let done = match enough {
            LoadEnd::After(time) => before.duration_since(began) >= time,
            LoadEnd::Requests(count) => number >= count,
        };
        if done {
            return Ok(times);
        }
        connection.exchange(template.numbered(number)).await?.expect(status)?;
        times.push(before.elapsed());
    }
}

/// Measured durations.
#[derive(Clone, Default)]
pub(super) struct Times(Vec<Duration>);

impl Times {
    pub(super) fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    /// The quantile at `permille` of a thousand; zero without measurements.
    pub(super) fn quantile(&self, permille: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * permille).div_ceil(1_000).saturating_sub(1);
        sorted.get(rank).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_differ_in_their_number_alone() {
        let mut template = Template::post("/x", "", "{\"name\": \"a-{number}\"}");
        let text = String::from_utf8(template.numbered(42).to_vec()).unwrap();
        assert!(
            text.ends_with("\r\ncontent-length: 22\r\n\r\n{\"name\": \"a-00000042\"}"),
            "{text}"
        );
        assert!(template.numbered(99_999_999).ends_with(b"a-99999999\"}"));
    }

    #[test]
    fn a_quantile_is_one_of_the_times() {
        let mut times = Times::default();
        assert_eq!(times.quantile(500), Duration::ZERO);
        (1..=100).rev().for_each(|ms| times.push(Duration::from_millis(ms)));
        assert_eq!(times.quantile(500), Duration::from_millis(50));
        assert_eq!(times.quantile(990), Duration::from_millis(99));
        assert_eq!(times.quantile(1_000), Duration::from_millis(100));
    }
}
