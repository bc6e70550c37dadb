//! A single keep-alive HTTP/1.1 connection. A pool may open another at any request, which needs a descriptor of the
//! server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::{Client, Reply};

pub(crate) struct Connection {
    stream: Mutex<BufReader<TcpStream>>,
    token: String,
}

impl Connection {
    /// Blocks until the server has accepted it and answered a first request.
    pub(crate) fn open(client: &Client) -> Self {
        let stream = TcpStream::connect(client.url.trim_start_matches("http://")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let stream = Mutex::new(BufReader::new(stream));
        let connection = Self { stream, token: client.token.clone() };
        connection.send(&Method::GET, "/livez", "");
        connection
    }

    /// Blocks until the answer is read.
    ///
    /// # Panics
    /// When the server does not answer, or not with a body of a known length.
    pub(crate) fn send(&self, method: &Method, path: &str, body: &str) -> Reply {
        let (token, length) = (&self.token, body.len());
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let mut stream = self.stream.lock().unwrap();
        stream.get_mut().write_all(request.as_bytes()).unwrap();
        let line = read_line(&mut stream);
        let status = line.split(' ').nth(1).expect("a status").parse().unwrap();
        let mut length = None;
        loop {
            let header = read_line(&mut stream).to_ascii_lowercase();
            match header.split_once(": ") {
                Some(("content-length", value)) => length = value.parse().ok(),
                Some(_) => {}
                None => break,
            }
        }
        let mut bytes = vec![0; length.expect("a length")];
        stream.read_exact(&mut bytes).unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Reply { status: StatusCode::from_u16(status).unwrap(), body }
    }
}

fn read_line(stream: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).expect("an answer");
    line.trim_end().to_owned()
}
