//! A proxy between server and cloud that counts requests, and kills the server once the reply to one of them has
//! arrived: the request took effect, and the server never gets the reply.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::cloud::Cloud;

/// Bound on the size of a request and a reply.
const LARGEST: usize = 4 << 20;

/// The counters, and the kill switch.
#[derive(Default)]
pub(crate) struct Trap {
    /// Requests since it was armed.
    seen: AtomicUsize,
    /// The request that kills; 0 = none.
    deadly: AtomicUsize,
    /// Pid of the server; 0 = not known yet.
    victim: AtomicI32,
    /// Requests in flight.
    flying: AtomicUsize,
    /// Peak of requests in flight.
    most: AtomicUsize,
    /// Milliseconds for which each creation is held before the cloud gets it, whatever the client does.
    hold: AtomicU64,
    /// Creations that were held.
    held: AtomicUsize,
    /// Method and path of requests that may change something.
    changes: Mutex<Vec<String>>,
}

/// A request in flight, until it is dropped.
struct Flight<'a>(&'a Trap);

impl<'a> Flight<'a> {
    fn begun(trap: &'a Trap) -> Self {
        let flying = trap.flying.fetch_add(1, Ordering::SeqCst) + 1;
        trap.most.fetch_max(flying, Ordering::SeqCst);
        Self(trap)
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.0.flying.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Trap {
    /// Kills at the `n`th request from now on.
    pub(crate) fn arm(&self, n: usize) {
        self.seen.store(0, Ordering::SeqCst);
        self.deadly.store(n, Ordering::SeqCst);
    }

    /// Disarms; whether it killed, and the requests since it was armed.
    pub(crate) fn disarm(&self) -> (bool, usize) {
        let spared = self.deadly.swap(0, Ordering::SeqCst) != 0;
        (!spared, self.seen.load(Ordering::SeqCst))
    }

    /// Sets the server to kill; `None` = not known yet.
    pub(crate) fn watch(&self, pid: Option<Pid>) {
        self.victim.store(pid.map_or(0, |pid| pid.as_raw_nonzero().get()), Ordering::SeqCst);
    }

    /// Peak of requests in flight.
    pub(crate) fn most_at_once(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    /// Holds each creation for so long from now on, like a busy service; zero = none.
    pub(crate) fn hold_creations(&self, time: Duration) {
        let time = u64::try_from(time.as_millis()).expect("a short time");
        self.hold.store(time, Ordering::SeqCst);
    }

    /// Creations that were held.
    pub(crate) fn creations(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    /// Method and path of the requests since the last call that may have changed something.
    pub(crate) fn changes(&self) -> Vec<String> {
        std::mem::take(&mut *self.changes.lock().unwrap())
    }

    /// Whether no request is in flight, held ones included.
    pub(crate) fn is_idle(&self) -> bool {
        self.flying.load(Ordering::SeqCst) == 0
    }

    /// Called with the head of a request before the cloud gets it.
    async fn before(&self, head: &str) {
        let hold = Duration::from_millis(self.hold.load(Ordering::SeqCst));
        let path = head.split(' ').nth(1).unwrap_or_default();
        if !head.starts_with("GET ") && !head.starts_with("HEAD ") && !path.contains("/auth/tokens")
        {
            let line = head.lines().next().unwrap_or_default();
            self.changes.lock().unwrap().push(line.to_owned());
        }
        let creates = head.starts_with("POST ")
            && !path.contains("/auth/tokens")
            && !path.ends_with("/action");
        if creates && !hold.is_zero() {
            self.held.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(hold).await;
        }
    }

    /// Called when a reply has arrived.
    async fn step(&self) {
        let seen = self.seen.fetch_add(1, Ordering::SeqCst) + 1;
        let hit = self.deadly.compare_exchange(seen, 0, Ordering::SeqCst, Ordering::SeqCst);
        if hit.is_err() {
            return;
        }
        loop {
            if let Some(pid) = Pid::from_raw(self.victim.load(Ordering::SeqCst)) {
                kill_process(pid, Signal::KILL).expect("it lives");
                return;
            }
            // The server sends requests before it is ready, so before its pid is known.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// One address for each service of a cloud.
pub(crate) struct Proxy {
    pub(crate) trap: Arc<Trap>,
    pub(crate) auth_url: String,
}

impl Proxy {
    pub(crate) async fn before(cloud: &Cloud) -> Self {
        let trap = Arc::new(Trap::default());
        let (mut listeners, mut places) = (Vec::new(), BTreeMap::new());
        for host in cloud.hosts() {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            places.insert(host.clone(), listener.local_addr().unwrap().to_string());
            listeners.push((host, listener));
        }
        let places = Arc::new(places);
        let auth_url = replaced(&cloud.auth_url, &places);
        for (host, listener) in listeners {
            let (trap, places) = (Arc::clone(&trap), Arc::clone(&places));
            tokio::spawn(async move {
                while let Ok((client, _)) = listener.accept().await {
                    let (host, trap) = (host.clone(), Arc::clone(&trap));
                    let places = Arc::clone(&places);
                    tokio::spawn(async move {
                        // The connections of a killed client break.
                        let _closed = pass(client, &host, &places, &trap).await;
                    });
                }
            });
        }
        Self { trap, auth_url }
    }
}

/// Replaces every address of the cloud by the proxy's.
fn replaced(text: &str, places: &BTreeMap<String, String>) -> String {
    places.iter().fold(text.to_owned(), |text, (host, place)| {
        text.replace(&format!("://{host}/"), &format!("://{place}/"))
            .replace(&format!("://{host}\""), &format!("://{place}\""))
    })
}

/// One request and its reply on one connection.
async fn pass(
    mut client: TcpStream,
    host: &str,
    places: &BTreeMap<String, String>,
    trap: &Trap,
) -> std::io::Result<()> {
    let (head, body) = message(&mut client).await?;
    if head.is_empty() {
        return Ok(());
    }
    let flight = Flight::begun(trap);
    let logs_in = head.starts_with("POST") && head.contains("/auth/tokens");
    trap.before(&head).await;
    let mut server = TcpStream::connect(host).await?;
    server.write_all(closing(&head).as_bytes()).await?;
    server.write_all(&body).await?;
    let (head, mut body) = message(&mut server).await?;
    drop(flight);
    trap.step().await;
    if logs_in {
        body = replaced(&String::from_utf8_lossy(&body), places).into_bytes();
    }
    client.write_all(sized(&head, body.len()).as_bytes()).await?;
    client.write_all(&body).await?;
    client.shutdown().await
}

/// Head and body of a message.
async fn message(from: &mut TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if bytes.len() > LARGEST || from.read_buf(&mut bytes).await? == 0 {
            return Ok((String::new(), Vec::new()));
        }
    };
    let body = bytes.split_off(end);
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let body = rest(from, &head, body).await?;
    Ok((head, body))
}

/// The body, whose beginning was read already: as long as the head says, or up to the end of the connection.
async fn rest(from: &mut TcpStream, head: &str, mut body: Vec<u8>) -> std::io::Result<Vec<u8>> {
    let said = header(head, "content-length").and_then(|length| length.parse().ok());
    let empty = head.starts_with("HTTP") && head.contains(" 204 ");
    let is_reply = head.starts_with("HTTP");
    let wanted = match said {
        _ if empty => 0,
        Some(length) => length,
        None if is_reply => LARGEST,
        None => 0,
    };
    while body.len() < wanted && from.read_buf(&mut body).await? > 0 {}
    Ok(body)
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// The head of a request after which the service closes the connection.
fn closing(head: &str) -> String {
    with(head, "connection", "close")
}

/// The head of a reply with a body of this length, after which we close the connection.
fn sized(head: &str, length: usize) -> String {
    let head = with(head, "connection", "close");
    if head.contains(" 204 ") { head } else { with(&head, "content-length", &length.to_string()) }
}

fn with(head: &str, name: &str, value: &str) -> String {
    let others = head
        .trim_end()
        .lines()
        .filter(|line| line.split_once(':').is_none_or(|(key, _)| !key.eq_ignore_ascii_case(name)));
    let mut lines: Vec<_> = others.map(str::to_owned).collect();
    lines.push(format!("{name}: {value}"));
    lines.join("\r\n") + "\r\n\r\n"
}
