//! Checks by dry run whether the server accepts a manifest: only it knows schema and driver.

use futures_util::stream::{self, StreamExt};
use reqwest::StatusCode;
use serde_json::Value;
use stateward_domain::json_pointer;

use super::omitted::Omitted;
use crate::client::{CONCURRENCY, Client, Problem, Request};
use crate::presentation::terminal;

/// A manifest that is not checked yet.
pub(super) struct Candidate {
    /// The object, for messages.
    pub(super) what: String,
    pub(super) manifest: Value,
    /// Fields that the kind requires.
    pub(super) required: Vec<String>,
}

/// Checks whether `apply` would accept each manifest. A refused field is omitted if it is optional; otherwise the whole
/// object is omitted.
///
/// # Errors
/// What concerns all of them: no access, a required reason, a server that does not answer.
pub(super) async fn check_all(
    client: &Client,
    candidates: Vec<Candidate>,
) -> anyhow::Result<(Vec<Value>, Vec<Omitted>)> {
    let bar = terminal::progress("checking", candidates.len() as u64);
    let asked = candidates.into_iter().map(|candidate| {
        let bar = bar.clone();
        async move {
            let outcome = check(client, candidate).await;
            bar.inc(1);
            outcome
        }
    });
    let mut answers = stream::iter(asked).buffered(CONCURRENCY);
    let (mut manifests, mut omitted) = (Vec::new(), Vec::new());
    while let Some(answer) = answers.next().await {
        let (manifest, mut more) = answer?;
        manifests.extend(manifest);
        omitted.append(&mut more);
    }
    bar.finish_and_clear();
    Ok((manifests, omitted))
}

async fn check(
    client: &Client,
    candidate: Candidate,
) -> anyhow::Result<(Option<Value>, Vec<Omitted>)> {
    let Candidate { what, mut manifest, required } = candidate;
    let mut omitted = Vec::new();
    // Each refusal removes at least one field, so the loop ends.
    loop {
        let request = Request::post("/v1/entities").query("dry_run", "true").json(&manifest);
        let Err(error) = client.send(&request).await else { return Ok((Some(manifest), omitted)) };
        let Some(problem) = error.downcast_ref::<Problem>().filter(|it| concerns_manifest(it))
        else {
            return Err(error);
        };
        let Some(faults) = optional(problem, &required, &manifest["desired"]) else {
            return Ok((None, vec![Omitted::new(what, problem.to_string())]));
        };
        for (field, why) in faults {
            let desired = manifest["desired"].as_object_mut();
            let Some(value) = desired.and_then(|desired| desired.remove(&field)) else { continue };
            let why = format!("{field} {value} cannot be declared: {why}");
            omitted.push(Omitted::new(&*what, why));
        }
    }
}

/// Whether a problem concerns the manifest, and not the caller or the server.
fn concerns_manifest(problem: &Problem) -> bool {
    let about = [
        StatusCode::UNPROCESSABLE_ENTITY,
        StatusCode::PAYLOAD_TOO_LARGE,
        StatusCode::BAD_REQUEST,
        StatusCode::CONFLICT,
    ];
    about.contains(&problem.status) && !problem.is("reason-required")
}

/// The fields of the desired state that a problem names; `None` = it names something that cannot be omitted.
fn optional(
    problem: &Problem,
    required: &[String],
    desired: &Value,
) -> Option<Vec<(String, String)>> {
    let field = |(pointer, why): (&str, &str)| {
        let name = pointer.strip_prefix("/desired/")?.split('/').next()?;
        let name = json_pointer::unescape(name);
        let may_go = !required.contains(&name) && desired.get(&name).is_some();
        may_go.then(|| (name, why.to_owned()))
    };
    let fields: Vec<_> = problem.faults().into_iter().map(field).collect::<Option<_>>()?;
    (!fields.is_empty()).then_some(fields)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_the_kind_can_do_without_is_left_out() {
        let fault = |pointers: &[&str]| {
            let errors: Vec<_> = pointers
                .iter()
                .map(|pointer| json!({"pointer": pointer, "detail": "no"}))
                .collect();
            let body = json!({"type": "urn:stateward:problem:invalid", "errors": errors});
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, body)
        };
        let (required, desired) =
            (["path".to_owned()], json!({"path": "a", "mode": "9", "a/b": 1}));
        let fields = |pointers: &[&str]| {
            let fields = optional(&fault(pointers), &required, &desired)?;
            Some(fields.into_iter().map(|(name, _)| name).collect::<Vec<_>>())
        };
        assert_eq!(fields(&["/desired/mode"]), Some(vec!["mode".to_owned()]));
        assert_eq!(fields(&["/desired/a~1b/0"]), Some(vec!["a/b".to_owned()]));
        for whole in [
            &["/desired/path"][..],
            &["/desired/mode", "/desired/path"],
            &["/name"],
            &["/desired"],
            &["/desired/gone"],
            &[],
        ] {
            assert_eq!(fields(whole), None, "{whole:?}");
        }
    }
}
