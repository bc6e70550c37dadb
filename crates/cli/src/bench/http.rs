//! A minimal HTTP/1.1 client: one connection, one request at a time, responses with a content length.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes of a response at most.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
const HEAD_END: &[u8] = b"\r\n\r\n";
const LENGTH: &[u8] = b"content-length:";

/// A keep-alive connection.
pub(super) struct RawConnection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// A response; borrowed from the connection's buffer until the next request.
pub(super) struct RawResponse<'a> {
    pub(super) status: u16,
    pub(super) body: &'a [u8],
}

impl RawResponse<'_> {
    /// The body, if the status is `status`.
    ///
    /// # Errors
    /// The other status, with the beginning of the body.
    pub(super) fn expect(&self, status: u16) -> anyhow::Result<&[u8]> {
        if self.status == status {
            return Ok(self.body);
        }
        let said = String::from_utf8_lossy(&self.body[..self.body.len().min(200)]);
        anyhow::bail!("answered {} instead of {status}: {said}", self.status)
    }
}

impl RawConnection {
    pub(super) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await;
        let stream = stream.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(8 * 1024) })
    }

    /// Sends a POST without a body; the response, and how long it took.
    pub(super) async fn post(
        &mut self,
        token: &str,
        path: &str,
    ) -> anyhow::Result<(RawResponse<'_>, Duration)> {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\n\
             content-length: 0\r\n\r\n"
        );
        let began = Instant::now();
        let answer = self.exchange(request.as_bytes()).await?;
        Ok((answer, began.elapsed()))
    }

    /// Sends `request` and reads the response.
    pub(super) async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<RawResponse<'_>> {
        self.stream.write_all(request).await.context("the request was not taken")?;
        self.buffer.clear();
        let (status, body) = loop {
            let read = self.stream.read_buf(&mut self.buffer).await.context("no answer")?;
            ensure!(read > 0, "the connection was closed in the middle of an answer");
            ensure!(self.buffer.len() <= ANSWER_BYTES_MAX, "the answer does not end");
            if let Some((status, body)) = head(&self.buffer)?
                && self.buffer.len() >= body.end
            {
                break (status, body);
            }
        };
        Ok(RawResponse { status, body: &self.buffer[body] })
    }
}

/// Status and range of the body; `None` = the head is not complete.
fn head(bytes: &[u8]) -> anyhow::Result<Option<(u16, std::ops::Range<usize>)>> {
    let found = bytes.windows(HEAD_END.len()).position(|window| window == HEAD_END);
    let Some(end) = found else { return Ok(None) };
    let head = &bytes[..end];
    let status = head.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
    let status = status.and_then(|digits| digits.parse().ok()).context("the answer is no HTTP")?;
    let length = head.split(|byte| *byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked(LENGTH.len())?;
        name.eq_ignore_ascii_case(LENGTH).then(|| std::str::from_utf8(value).ok())?
    });
    let length: usize = match length {
        // Only a response without a body has no length.
        None => 0,
        Some(length) => length.trim().parse().context("the answer's length is no number")?,
    };
    let body = end + HEAD_END.len();
    Ok(Some((status, body..body.saturating_add(length))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_to_its_end_and_no_further() {
        let text = b"HTTP/1.1 202 Accepted\r\nContent-Length: 3\r\netag: x\r\n\r\nabc";
        assert_eq!(head(&text[..40]).unwrap(), None);
        let (status, body) = head(text).unwrap().unwrap();
        assert_eq!((status, &text[body]), (202, &b"abc"[..]));
        let (status, body) = head(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap().unwrap();
        assert_eq!((status, body.len()), (204, 0));
        assert!(head(b"SSH-2.0 hello\r\n\r\n").is_err());
        assert!(head(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n").is_err());
    }
}
