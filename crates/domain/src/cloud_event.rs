//! The log as `CloudEvents` 1.0 in JSON, one event per line, with everything that an import needs to restore it byte
//! for byte: extension attributes hold what the log adds, `data` is the stored payload itself.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::audit::Digest;
use crate::envelope::{Recorded, StreamId};
use crate::id::{EventId, LogId, Position, Version};
use crate::ports::audit::ChainedEvent;
use crate::time::{Timestamp, rfc3339};

const SOURCE: &str = "urn:stateward:log:";

/// Members in the order in which they are written. The specification demands lower-case names of extension
/// attributes; 64-bit numbers are texts.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    specversion: String,
    id: EventId,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    subject: String,
    time: String,
    datacontenttype: String,
    /// Ordinal in the log.
    sequence: String,
    streamversion: String,
    schemaversion: u32,
    /// Microseconds since the Unix epoch.
    recordedat: String,
    /// As stored.
    metadata: String,
    previoushash: Digest,
    hash: Digest,
    /// The export has a part of the log only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    partial: bool,
    /// The stored payload when it cannot be embedded as `data`: not JSON, or not on one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
}

/// A parsed line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The log that it was exported from.
    pub log_id: LogId,
    /// Whether the export has a part of the log only.
    pub partial: bool,
    /// The event; its position has the ordinal only, without an epoch.
    pub chained: ChainedEvent,
}

/// The line is not one of an export.
#[derive(Debug, thiserror::Error)]
#[error("not a line of an export: {0}")]
pub struct BadLine(String);

/// Renders one event as a line, without the line end. `partial` = the export has a part of the log only.
///
/// # Panics
/// Never: a line is plain data.
#[must_use]
pub fn render(chained: &ChainedEvent, log_id: LogId, partial: bool) -> String {
    let event = &chained.event;
    let data = verbatim(&event.payload);
    let written = Line {
        specversion: "1.0".to_owned(),
        id: event.id,
        source: format!("{SOURCE}{log_id}"),
        kind: event.event_type.clone(),
        subject: event.stream.to_string(),
        time: rfc3339::text(event.recorded_at),
        datacontenttype: "application/json".to_owned(),
        // Fixed width, so that the text sorts as the number does.
        sequence: format!("{:020}", event.position.minor),
        streamversion: event.version.to_string(),
        schemaversion: event.schema_version,
        recordedat: event.recorded_at.0.to_string(),
        metadata: event.metadata.to_string(),
        previoushash: Digest(chained.previous),
        hash: Digest(event.hash),
        partial,
        payload: data.is_none().then(|| event.payload.to_string()),
        data,
    };
    serde_json::to_string(&written).expect("plain data")
}

/// The payload as raw JSON; `None` when a line cannot hold it unchanged.
fn verbatim(payload: &str) -> Option<Box<RawValue>> {
    let fits = payload != "null" && !payload.contains(['\n', '\r']);
    let value = RawValue::from_string(payload.to_owned()).ok().filter(|_| fits)?;
    (value.get() == payload).then_some(value)
}

/// Parses a line.
///
/// # Errors
/// [`BadLine`] for any line that [`render`] does not write.
pub fn parse(line: &str) -> Result<Parsed, BadLine> {
    let line: Line = serde_json::from_str(line).map_err(|error| BadLine(error.to_string()))?;
    let bad = |member: &str| BadLine(format!("{member} is not valid"));
    let log_id = line.source.strip_prefix(SOURCE).and_then(|id| id.parse().ok());
    let recorded_at = Timestamp(line.recordedat.parse().map_err(|_| bad("recordedat"))?);
    if line.specversion != "1.0" || line.datacontenttype != "application/json" {
        return Err(bad("specversion or datacontenttype"));
    }
    if rfc3339::text(recorded_at) != line.time {
        return Err(bad("time"));
    }
    let payload = match (line.data, line.payload) {
        (Some(data), None) => data.get().to_owned(),
        (None, Some(payload)) => payload,
        _ => return Err(bad("data")),
    };
    let minor = line.sequence.parse().map_err(|_| bad("sequence"))?;
    let event = Recorded {
        position: Position { minor, ..Position::START },
        stream: line.subject.parse::<StreamId>().map_err(|_| bad("subject"))?,
        version: Version(line.streamversion.parse().map_err(|_| bad("streamversion"))?),
        id: line.id,
        event_type: line.kind,
        schema_version: line.schemaversion,
        recorded_at,
        payload: payload.into(),
        metadata: line.metadata.into(),
        hash: line.hash.0,
    };
    Ok(Parsed {
        log_id: log_id.ok_or_else(|| bad("source"))?,
        partial: line.partial,
        chained: ChainedEvent { previous: line.previoushash.0, event },
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chained(payload: &str, metadata: &str) -> ChainedEvent {
        let event = Recorded {
            position: Position { epoch: 0, major: 0, minor: 7 },
            stream: StreamId::access(),
            version: Version(3),
            id: EventId(uuid::Uuid::from_u128(9)),
            event_type: "access.token_revoked".to_owned(),
            schema_version: 1,
            recorded_at: Timestamp(1_795_528_595_466_242),
            payload: payload.into(),
            metadata: metadata.into(),
            hash: [2; 32],
        };
        ChainedEvent { previous: [1; 32], event }
    }

    const LOG: LogId = LogId(uuid::Uuid::from_u128(5));

    #[test]
    fn a_line_is_a_cloud_event_whose_form_is_pinned() {
        let text = render(&chained("{\"b\": 1.0,\"a\":2}", "{\"actor_id\":\"é\"}"), LOG, false);
        let expected = concat!(
            r#"{"specversion":"1.0","id":"00000000-0000-0000-0000-000000000009","#,
            r#""source":"urn:stateward:log:00000000-0000-0000-0000-000000000005","#,
            r#""type":"access.token_revoked","subject":"access/main","time":"2026-11-24T"#
        );
        assert!(text.starts_with(expected), "{text}");
        assert!(text.ends_with(r#","data":{"b": 1.0,"a":2}}"#), "the stored text itself: {text}");
        let names: std::collections::BTreeMap<String, serde_json::Value> =
            serde_json::from_str(&text).expect("JSON");
        let plain = |name: &&String| name.bytes().all(|byte| byte.is_ascii_lowercase());
        assert_eq!(names.keys().filter(plain).count(), names.len());
    }

    #[test]
    fn a_line_that_no_export_writes_is_refused() {
        let good = render(&chained("{}", "{}"), LOG, true);
        assert!(parse(&good).expect("a line").partial);
        for (from, to) in [
            ("\"1.0\"", "\"0.3\""),
            ("urn:stateward:log:", "urn:else:"),
            (",\"data\":{}", ""),
            ("\"sequence\":\"0", "\"sequence\":\"x"),
            ("{\"spec", "{\"more\":1,\"spec"),
            ("access/main", "access"),
            ("2026", "2027"),
        ] {
            assert!(good.contains(from) && parse(&good.replace(from, to)).is_err(), "{from}");
        }
        assert!(parse("").is_err() && parse(&good[..good.len() - 1]).is_err());
    }

    proptest! {
        #[test]
        fn every_text_comes_back_byte_for_byte(payload in ".*", metadata in "(?s).*") {
            let payloads = [payload.clone(), serde_json::to_string(&payload).expect("JSON")];
            for payload in payloads {
                let chained = chained(&payload, &metadata);
                let line = render(&chained, LOG, false);
                prop_assert!(!line.contains('\n'));
                prop_assert_eq!(parse(&line).expect("a line").chained, chained);
            }
        }
    }
}
