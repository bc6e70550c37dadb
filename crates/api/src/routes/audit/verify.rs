//! `POST /v1/audit/verify`: verification of the log.

use std::convert::Infallible;

use actix_web::http::header::ACCEPT;
use actix_web::rt::task::JoinHandle;
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::Stream;
use serde::Deserialize;
use serde_json::{Value, json};
use stateward_domain::access::Role;
use stateward_domain::audit::{Checkpoint, Report, VerificationProgress};
use stateward_engine::{Engine, QueryError, service::VerificationPermit};
use tokio::sync::{oneshot, watch};

use super::LINES;
use crate::app_state::AppState;
use crate::auth::Caller;
use crate::body::Body;
use crate::problem::Problem;
use crate::query_parser::Params;
use crate::schema::objects::{CheckpointSchema, ReportSchema};
use crate::schema::problems::{Refused, RefusedBody};

#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
struct VerifyBody {
    /// A checkpoint that was kept elsewhere: the log has to continue it.
    #[schema(value_type = Option<CheckpointSchema>)]
    against: Option<Checkpoint>,
}

#[utoipa::path(
    post,
    path = "/v1/audit/verify",
    operation_id = "verify_log",
    tag = "audit",
    summary = "Verify chains, claims and read models; with Accept: application/x-ndjson it says how far it is",
    request_body(content = VerifyBody),
    responses((status = 200, description = "What is wrong, the first 100 of it", content((ReportSchema = "application/json"), (String = "application/x-ndjson"))), Refused, RefusedBody),
)]
pub(crate) async fn handler(
    app: web::Data<AppState>,
    caller: Caller,
    params: Params,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    params.finish()?;
    caller.require_global(Role::Viewer)?;
    let VerifyBody { against } = body.json_or_default()?;
    if against.as_ref().is_some_and(|kept| i64::try_from(kept.count).is_err()) {
        let problem = Problem::unprocessable("bad-document", "the document has 1 fault(s)");
        return Err(problem.at("/against/count", "is more than any log has"));
    }
    let turn = app.engine.verification_permit()?;
    let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
    if accept.is_some_and(|accept| accept.contains(LINES)) {
        let lines = VerificationStream::begin(app.engine.clone(), turn, against).lines();
        return Ok(HttpResponse::Ok().content_type(LINES).streaming(lines));
    }
    let report = app.engine.verify(&turn, against.as_ref(), &|_| ()).await?;
    Ok(HttpResponse::Ok().json(report))
}

/// A verification that streams its progress. Dropping the stream aborts it.
struct VerificationStream {
    progress: watch::Receiver<VerificationProgress>,
    outcome: oneshot::Receiver<Result<Report, QueryError>>,
    task: JoinHandle<()>,
    ended: bool,
}

impl VerificationStream {
    fn begin(engine: Engine, turn: VerificationPermit, against: Option<Checkpoint>) -> Self {
        let (sender, progress) = watch::channel(VerificationProgress::default());
        let (reply, outcome) = oneshot::channel();
        let task = actix_web::rt::spawn(async move {
            let report_progress = |progress| {
                sender.send_replace(progress);
            };
            let outcome = engine.verify(&turn, against.as_ref(), &report_progress).await;
            // The client has disconnected.
            let _ = reply.send(outcome);
        });
        Self { progress, outcome, task, ended: false }
    }

    fn lines(self) -> impl Stream<Item = Result<Bytes, Infallible>> {
        futures_util::stream::unfold(self, |mut watched| async {
            let line = watched.next().await?;
            Some((Ok(Bytes::from(format!("{line}\n"))), watched))
        })
    }

    async fn next(&mut self) -> Option<Value> {
        if self.ended {
            return None;
        }
        tokio::select! {
            biased;
            outcome = &mut self.outcome => self.last(outcome.ok()),
            Ok(()) = self.progress.changed() => {
                Some(json!({ "progress": *self.progress.borrow_and_update() }))
            }
        }
    }

    fn last(&mut self, outcome: Option<Result<Report, QueryError>>) -> Option<Value> {
        self.ended = true;
        Some(match outcome? {
            Ok(report) => json!({ "result": report }),
            Err(error) => json!({ "error": { "detail": error.to_string() } }),
        })
    }
}

impl Drop for VerificationStream {
    fn drop(&mut self) {
        self.task.abort();
    }
}
