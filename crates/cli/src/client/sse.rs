//! Follows the log over server-sent events.
//!
//! A lost connection is resumed after the last position received, so no event is missed or delivered twice. Before the
//! first event there is no such position: on [`StreamItem::Reconnected`] a caller with a view of its own reads it again.

use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use super::{Client, Request};

/// The server sends a comment every 15 seconds; after this silence the connection counts as lost.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// Connections in a row that deliver no event.
const EMPTY_STREAMS_MAX: u32 = 10;
/// Between two such connections.
const PAUSE: Duration = Duration::from_secs(1);
/// Bytes of one event at most: more than the largest request body.
const EVENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What the stream delivers.
#[derive(Debug)]
pub(crate) enum StreamItem {
    /// An event.
    Event(Value),
    /// The connection was lost and is open again.
    Reconnected,
}

/// A subscription to the log.
pub(crate) struct EventStream {
    client: Client,
    request: Request,
    last_seen: Option<String>,
    response: Option<reqwest::Response>,
    frames: Frames,
    empty_streams: u32,
}

impl EventStream {
    /// Subscribes: no event after this call is missed. `request` has the filters, and `after` for earlier events.
    ///
    /// # Errors
    /// The server's problem, or the server does not answer.
    pub(crate) async fn open(client: &Client, request: Request) -> anyhow::Result<Self> {
        let request = request.accept("text/event-stream");
        let response = Some(client.stream(&request).await?);
        let (frames, last_seen) = (Frames::default(), None);
        Ok(Self { client: client.clone(), request, last_seen, response, frames, empty_streams: 0 })
    }

    /// The next event or reconnection. Cancel-safe: dropping the future loses nothing.
    ///
    /// # Errors
    /// The server's problem, or the server stopped answering.
    pub(crate) async fn next(&mut self) -> anyhow::Result<StreamItem> {
        loop {
            while let Some(frame) = self.frames.pop()? {
                if let Some(event) = self.take(frame)? {
                    return Ok(StreamItem::Event(event));
                }
            }
            let Some(response) = &mut self.response else {
                self.reconnect().await?;
                return Ok(StreamItem::Reconnected);
            };
            match tokio::time::timeout(SILENCE_MAX, response.chunk()).await {
                Ok(Ok(Some(bytes))) => self.frames.push(&bytes),
                // The end, a loss, or silence.
                _ => self.response = None,
            }
        }
    }

    fn take(&mut self, frame: Frame) -> anyhow::Result<Option<Value>> {
        if frame.event == "reconnect" {
            self.response = None;
            return Ok(None);
        }
        self.empty_streams = 0;
        self.last_seen = Some(frame.id);
        serde_json::from_str(&frame.data).map(Some).context("an event is no JSON")
    }

    async fn reconnect(&mut self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.empty_streams < EMPTY_STREAMS_MAX,
            "the server ends every stream at once"
        );
        if self.empty_streams > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        self.empty_streams += 1;
        self.frames = Frames::default();
        let request = self.request.clone().last_seen(self.last_seen.as_deref());
        self.response = Some(self.client.stream(&request).await?);
        Ok(())
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Frame {
    id: String,
    event: String,
    data: String,
}

/// Splits bytes into frames.
#[derive(Default)]
struct Frames {
    bytes: Vec<u8>,
}

impl Frames {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame with data; comments are skipped.
    fn pop(&mut self) -> anyhow::Result<Option<Frame>> {
        while let Some(end) = self.bytes.windows(2).position(|pair| pair == b"\n\n") {
            let block: Vec<u8> = self.bytes.drain(..end + 2).collect();
            let frame = frame(&String::from_utf8_lossy(&block));
            if !frame.data.is_empty() {
                return Ok(Some(frame));
            }
        }
        anyhow::ensure!(self.bytes.len() <= EVENT_BYTES_MAX, "an event is too long");
        Ok(None)
    }
}

fn frame(block: &str) -> Frame {
    let mut frame = Frame::default();
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => value.clone_into(&mut frame.id),
            "event" => value.clone_into(&mut frame.event),
            "data" => {
                if !frame.data.is_empty() {
                    frame.data.push('\n');
                }
                frame.data.push_str(value);
            }
            _ => {}
        }
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_whole_however_they_are_cut() {
        let stream = b": welcome\n\nid: 7\nevent: entity.deleted\ndata: {\"a\":1}\n\n: still here\n\nid: 8\ndata: x\n\n";
        for size in 1..stream.len() {
            let (mut frames, mut ids) = (Frames::default(), Vec::new());
            for piece in stream.chunks(size) {
                frames.push(piece);
                while let Some(frame) = frames.pop().unwrap() {
                    ids.push(frame.id);
                }
            }
            assert_eq!(ids, ["7", "8"], "pieces of {size}");
        }
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut frames = Frames::default();
        frames.push(&vec![b'x'; EVENT_BYTES_MAX + 1]);
        assert!(frames.pop().is_err());
    }
}
