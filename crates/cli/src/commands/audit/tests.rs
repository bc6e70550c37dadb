//! The verbs against a stub that answers like the real server.

use clap::Parser;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::Audit;
use crate::exit::Exit;
use crate::verb_context::WithConnection;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    audit: WithConnection<Audit>,
}

/// A request that the stub received: its first line and its body.
struct ReceivedRequest {
    line: String,
    body: Value,
}

/// Runs a verb against a stub that answers one request with `answer`.
async fn run(
    arguments: &[&str],
    media_type: &str,
    answer: &str,
) -> (anyhow::Result<Exit>, ReceivedRequest) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
        answer.len()
    );
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        let (mut line, mut length) = (String::new(), 0);
        stream.read_line(&mut line).await.unwrap();
        loop {
            let mut header = String::new();
            stream.read_line(&mut header).await.unwrap();
            if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if header.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        stream.write_all(answer.as_bytes()).await.unwrap();
        ReceivedRequest { line, body: serde_json::from_slice(&body).unwrap_or_default() }
    });
    let connection = ["--server", &url, "--data", "/nonexistent"];
    let words = ["audit"].iter().chain(arguments).chain(&connection);
    let outcome = Arguments::try_parse_from(words).unwrap().audit.run().await;
    (outcome, server.await.unwrap())
}

fn result(ok: bool) -> Value {
    let faults = if ok {
        json!([])
    } else {
        json!([{ "stream": "entity/x", "version": 3, "position": "p", "fault": "hash", "detail": "edited" }])
    };
    json!({
        "ok": ok, "events": 120, "streams": 7, "entities": 5, "faults": faults, "fault_count": u8::from(!ok),
        "checkpoint": { "position": "7c72", "digest": "ab12" }, "elapsed_ms": 42,
    })
}

#[tokio::test]
async fn a_verified_log_is_reported_after_its_progress() {
    let lines = format!(
        "{}\n{}\n",
        json!({ "progress": { "done": 60, "total": 120 } }),
        json!({ "result": result(true) })
    );
    let (outcome, received) = run(&["verify"], "application/x-ndjson", &lines).await;
    assert_eq!(outcome.unwrap(), Exit::Ok);
    assert!(received.line.starts_with("POST /v1/audit/verify "), "{}", received.line);
    insta::assert_snapshot!("verified", super::verify::summary(&result(true)));
}

#[tokio::test]
async fn a_fault_is_a_failure_also_without_progress() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("checkpoint.json");
    let checkpoint =
        json!({ "log_id": "l", "position": "p", "count": 1, "digest": "d", "taken_at": "t" });
    std::fs::write(&file, checkpoint.to_string()).unwrap();
    let against = ["verify", "--against", file.to_str().unwrap()];
    let body = result(false).to_string();
    let (outcome, received) = run(&against, "application/json", &body).await;
    assert_eq!(outcome.unwrap(), Exit::Failure);
    assert_eq!(received.body, json!({ "against": checkpoint }));
    insta::assert_snapshot!("faulty", super::verify::summary(&result(false)));
}

#[tokio::test]
async fn an_answer_without_a_result_is_no_success() {
    let line = json!({ "progress": { "done": 1, "total": 2 } }).to_string();
    let (outcome, _) = run(&["verify"], "application/x-ndjson", &line).await;
    assert!(outcome.expect_err("no result").to_string().contains("ended before"));
}

#[tokio::test]
async fn a_checkpoint_is_asked_for() {
    let (outcome, received) =
        run(&["checkpoint"], "application/json", "{\"position\": \"7c72\"}").await;
    assert_eq!(outcome.unwrap(), Exit::Ok);
    assert!(received.line.starts_with("GET /v1/audit/checkpoint "), "{}", received.line);
}

#[tokio::test]
async fn an_export_is_whole_or_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log.jsonl");
    let name = file.to_str().unwrap();
    let arguments =
        ["export", "-o", name, "--type", "entity.deleted", "--after", "7c72", "-n", "physics"];
    let (outcome, received) =
        run(&arguments, "application/x-ndjson", "{\"a\":1}\n\n{\"b\":2}").await;
    assert_eq!(outcome.unwrap(), Exit::Ok);
    let expected = "GET /v1/audit/export?after=7c72&namespace=physics&type=entity.deleted ";
    assert!(received.line.starts_with(expected), "{}", received.line);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "{\"a\":1}\n{\"b\":2}\n");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "something is left over");
}
