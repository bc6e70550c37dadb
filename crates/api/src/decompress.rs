//! Decompression of bodies. A few bytes can expand to any number, so it is done in pieces, and each is charged first.

use std::io::Read;

use actix_web::http::StatusCode;
use flate2::read::{MultiGzDecoder, ZlibDecoder};

use crate::problem::Problem;

/// Bytes decompressed at a time.
const PIECE: usize = 64 * 1024;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Identity,
    Gzip,
    Deflate,
}

impl Coding {
    /// The coding in `Content-Encoding`; `Identity` without the header.
    ///
    /// # Errors
    /// 415 for an unsupported coding.
    pub(crate) fn of(header: Option<&str>) -> Result<Self, Problem> {
        match header.map(|text| text.trim().to_ascii_lowercase()).as_deref() {
            None | Some("" | "identity") => Ok(Self::Identity),
            Some("gzip" | "x-gzip") => Ok(Self::Gzip),
            Some("deflate") => Ok(Self::Deflate),
            Some(_) => {
                let detail = "Content-Encoding is gzip, deflate or identity";
                Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-encoding", detail))
            }
        }
    }

    /// The decompressed `body`. Calls `charge` with the number of bytes before each piece is kept.
    ///
    /// # Errors
    /// Those of `charge`; 400 if the body has another format.
    pub(crate) fn decode(
        self,
        body: &[u8],
        mut charge: impl FnMut(usize) -> Result<(), Problem>,
    ) -> Result<Vec<u8>, Problem> {
        let mut source: Box<dyn Read + '_> = match self {
            Self::Identity => Box::new(body),
            Self::Gzip => Box::new(MultiGzDecoder::new(body)),
            Self::Deflate => Box::new(ZlibDecoder::new(body)),
        };
        let (mut piece, mut decoded) = (vec![0; PIECE], Vec::new());
        loop {
            let read = source.read(&mut piece);
            let length =
                read.map_err(|_| Problem::malformed("bad-body", "the body is not compressed so"))?;
            if length == 0 {
                return Ok(decoded);
            }
            charge(length)?;
            decoded.extend_from_slice(&piece[..length]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use actix_web::ResponseError;
    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).expect("in memory");
        encoder.finish().expect("in memory")
    }

    #[test]
    fn every_coding_comes_back_and_others_are_refused() {
        let plain = b"{\"a\":1}".repeat(20_000);
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(&plain).expect("in memory");
        for (header, body) in [
            (None, plain.clone()),
            (Some("identity"), plain.clone()),
            (Some(" GZIP"), gzip(&plain)),
            (Some("deflate"), zlib.finish().expect("in memory")),
        ] {
            let coding = Coding::of(header).expect("known");
            assert_eq!(coding.decode(&body, |_| Ok(())).expect("sound"), plain, "{header:?}");
        }
        assert_eq!(Coding::of(Some("br")).expect_err("unknown").status_code(), 415);
        let cut = &gzip(&plain)[..50];
        assert!(Coding::Gzip.decode(cut, |_| Ok(())).is_err());
    }

    #[test]
    fn nothing_is_taken_out_beyond_what_is_paid_for() {
        let bomb = gzip(&vec![0; 64 * 1024 * 1024]);
        let mut left = 1024 * 1024_usize;
        let charge = |bytes: usize| {
            left = left.checked_sub(bytes).ok_or_else(|| Problem::unavailable("too much"))?;
            Ok(())
        };
        assert!(Coding::Gzip.decode(&bomb, charge).is_err());
        assert!(left < PIECE, "it stops where the room ends");
    }
}
