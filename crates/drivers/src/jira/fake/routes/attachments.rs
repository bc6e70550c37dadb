//! `/issue/{id}/attachments` and `/attachment`.

use hyper::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::changing::{to_change, touch, writer};
use crate::jira::fake::call::{Answer, Call, Problem, Reply};
use crate::jira::fake::multipart;
use crate::jira::fake::render::Render;
use crate::jira::fake::render_issue::{reading, writing};
use crate::jira::fake::rows::Attachment;
use crate::jira::fake::world::{View, World};

fn missing(id: &str) -> Problem {
    Problem::message(404, &format!("The attachment with id '{id}' does not exist."))
}

fn found<'a>(view: View<'a>, id: &str) -> Result<&'a Attachment, Problem> {
    let row = id.parse().ok().and_then(|id| view.world.attachments.get(id, view.at));
    let row = row.filter(|row| view.issue(&row.issue.to_string()).is_some());
    row.ok_or_else(|| missing(id))
}

pub(crate) fn create(world: &mut World, call: &Call, issue: &str) -> Answer {
    let user = writer(call)?.to_owned();
    let header = |name: &str| call.headers.get(name).and_then(|value| value.to_str().ok());
    if !matches!(header("x-atlassian-token"), Some("no-check" | "nocheck")) {
        return Ok(Reply::text(403, "text/html;charset=UTF-8", "XSRF check failed"));
    }
    let issue = to_change(world, call, issue)?.id;
    let content_type = header(CONTENT_TYPE.as_str()).unwrap_or_default();
    let files = multipart::files(content_type, &call.body);
    let Some(files) = files else {
        return Err(Problem::message(400, "The multipart body is malformed."));
    };
    let files: Vec<_> = files.into_iter().filter(|file| file.field == "file").collect();
    if files.is_empty() {
        return Err(Problem::message(400, "The part with the name 'file' is missing."));
    }
    let largest = world.options.attachment_bytes_max;
    if let Some(file) = files.iter().find(|file| file.content.len() > largest) {
        let text = format!(
            "The attachment {} exceeds its maximum permitted size of {largest} bytes.",
            file.filename
        );
        return Err(Problem::message(413, &text));
    }
    let mut ids = Vec::new();
    for file in files {
        let id = world.next_id();
        let attachment = Attachment {
            id,
            issue,
            filename: file.filename,
            mime: file.mime,
            content: file.content,
            author: user.clone(),
            created: call.time,
        };
        world.attachments.put(id, attachment, call.now);
        ids.push(id);
    }
    touch(world, call, issue);
    let view = writing(world, call);
    let render = Render { view, call };
    let rows = ids.into_iter().filter_map(|id| world.attachments.get(id, call.now));
    Ok(Reply::ok(rows.map(|row| render.attachment(row, false)).collect::<Value>()))
}

pub(crate) fn read(world: &World, call: &Call, id: &str) -> Answer {
    let view = reading(world, call);
    let row = found(view, id)?;
    Ok(Reply::ok(Render { view, call }.attachment(row, call.is_cloud)))
}

/// `GET /attachment/content/{id}`: a redirect to the host of the contents, unless `redirect=false`.
pub(crate) fn content(world: &World, call: &Call, id: &str) -> Answer {
    let row = found(reading(world, call), id)?;
    if call.flag("redirect") == Some(false) {
        return Ok(file(row));
    }
    let location = format!("{}/file/{}/binary?token=t-{}", call.media, row.id, row.id);
    Ok(Reply::empty(303).with("location", location))
}

/// The content of a file.
pub(crate) fn file(row: &Attachment) -> Reply {
    let name = row.filename.replace(['"', '\r', '\n'], "");
    let disposition = format!("attachment; filename=\"{name}\"");
    Reply {
        body: row.content.clone(),
        content_type: "application/octet-stream",
        ..Reply::empty(200)
    }
    .with("content-disposition", disposition)
}

/// The content of an attachment that `/secure/attachment/{id}/{name}` names.
pub(crate) fn secure_file(world: &World, call: &Call, id: &str) -> Answer {
    found(reading(world, call), id).map(file)
}

pub(crate) fn delete(world: &mut World, call: &Call, id: &str) -> Answer {
    writer(call)?;
    let row = found(writing(world, call), id)?.clone();
    to_change(world, call, &row.issue.to_string())?;
    world.attachments.remove(row.id, call.now);
    touch(world, call, row.issue);
    Ok(Reply::empty(204))
}

pub(crate) fn settings(world: &World) -> Reply {
    let largest = world.options.attachment_bytes_max;
    Reply::ok(json!({"enabled": true, "uploadLimit": largest}))
}
