//! A stub server: gives canned responses, and keeps the requests.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// The response to a request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Reads the request and closes the connection.
    HangUp,
    /// Answers with a status, more headers, and a body.
    Reply(u16, &'static str, Value),
}

/// A request that came in.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Method and address.
    pub(crate) line: String,
    /// By lower-case names.
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Value,
}

/// A running stub.
pub(crate) struct Stub {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Stub {
    /// Gives these responses in order, and repeats the last one.
    pub(crate) async fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let keep = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut answers = VecDeque::from(answers);
            while let Ok((stream, _)) = listener.accept().await {
                let next =
                    if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
                if let Some(request) = answer(stream, next.expect("an answer")).await {
                    keep.lock().expect("no panic").push(request);
                }
            }
        });
        Self { url, asked }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic").clone()
    }
}

async fn answer(stream: TcpStream, answer: Answer) -> Option<Asked> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let mut headers = HashMap::new();
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).await.ok()?;
        let Some((name, value)) = header.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|text| text.parse().ok());
    let mut body = vec![0; length.unwrap_or_default()];
    stream.read_exact(&mut body).await.ok()?;
    if let Answer::Reply(status, more, reply) = answer {
        let reply = reply.to_string();
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nConnection: close\r\n"
        );
        let text = format!("{head}{more}Content-Length: {}\r\n\r\n{reply}", reply.len());
        stream.write_all(text.as_bytes()).await.ok()?;
    }
    let line = line.trim_end_matches(" HTTP/1.1\r\n").to_owned();
    Some(Asked { line, headers, body: serde_json::from_slice(&body).unwrap_or_default() })
}
