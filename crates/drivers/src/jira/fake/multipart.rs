//! The parts of a `multipart/form-data` body.

use hyper::body::Bytes;

/// A file of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FormFile {
    /// Name of the form's field.
    pub(crate) field: String,
    pub(crate) filename: String,
    pub(crate) mime: String,
    pub(crate) content: Bytes,
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn attribute(header: &str, name: &str) -> Option<String> {
    let parts = header.split(';').map(str::trim);
    let mut values = parts.filter_map(|part| part.split_once('=')).filter(|(key, _)| *key == name);
    let (_, value) = values.next()?;
    Some(value.trim_matches('"').replace("%22", "\""))
}

/// The files of a body; `None` when it is malformed.
pub(crate) fn files(content_type: &str, body: &Bytes) -> Option<Vec<FormFile>> {
    let boundary = attribute(content_type, "boundary")?;
    let delimiter = format!("\r\n--{boundary}");
    let mut at = position(body, format!("--{boundary}").as_bytes())? + boundary.len() + 2;
    let mut files = Vec::new();
    // Each part starts behind a delimiter's end of line; the last delimiter ends in `--`.
    while !body.get(at..)?.starts_with(b"--") {
        let head_begin = at + position(body.get(at..)?, b"\r\n")? + 2;
        let head_end = head_begin + position(body.get(head_begin..)?, b"\r\n\r\n")?;
        let content_begin = head_end + 4;
        let end = content_begin + position(body.get(content_begin..)?, delimiter.as_bytes())?;
        let head = String::from_utf8_lossy(body.get(head_begin..head_end)?).into_owned();
        let header = |name: &str| {
            head.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        let disposition = header("content-disposition")?;
        if let Some(filename) = attribute(&disposition, "filename") {
            files.push(FormFile {
                field: attribute(&disposition, "name")?,
                filename,
                mime: header("content-type")
                    .unwrap_or_else(|| "application/octet-stream".to_owned()),
                content: body.slice(content_begin..end),
            });
        }
        at = end + delimiter.len();
    }
    Some(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_byte_for_byte() {
        let body = "--xx\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhello\r\n--xx\r\n\
            Content-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\
            Content-Type: text/plain\r\n\r\none\r\n\r\ntwo\r\n--xx--\r\n";
        let found = files("multipart/form-data; boundary=xx", &Bytes::from(body)).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].field.as_str(), found[0].filename.as_str()), ("file", "a.txt"));
        assert_eq!(found[0].content, "one\r\n\r\ntwo");
        let cut = Bytes::from(&body[..body.len() - 8]);
        assert_eq!(files("multipart/form-data; boundary=xx", &cut), None);
        assert_eq!(files("text/plain", &cut), None);
    }
}
