//! `POST /v1/entities/{id}/actions/{name}`: actions of every entity, and those of its kind.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::Value;
use stateward_domain::access::Role;
use stateward_domain::entity::state::Decision;
use stateward_domain::id::{ActionName, EntityId, ExternalId, OperationId};
use stateward_engine::service::Verb;

use crate::body::Body;
use crate::change_request::ChangeRequest;
use crate::change_response::ChangeReply;
use crate::problem::Problem;
use crate::routes::id;
use crate::schema::params::{ChangeHeaders, WaitHeader};
use crate::schema::problems::{Missing, Refused, RefusedBody, RefusedChange};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AdoptBody {
    external_id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DecideBody {
    decision: DecisionName,
    external_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum DecisionName {
    Adopt,
    Create,
    GiveUp,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CancelBody {
    operation: OperationId,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[utoipa::path(
    post,
    path = "/v1/entities/{id}/actions/{name}",
    operation_id = "act_on_entity",
    tag = "entities",
    summary = "Do a verb: refresh, retry, pause, resume, adopt, release, decide, cancel, or one of the kind",
    params(("id" = String, Path, description = "Id"), ("name" = String, Path, description = "Verb"), ChangeHeaders, WaitHeader),
    request_body = Option<serde_json::Value>,
    responses((status = 200, description = "Done, or nothing had to be done on the backend", body = ChangeReply<'static>), (status = 202, description = "Accepted; the operation says how it goes", body = ChangeReply<'static>), Refused, Missing, RefusedBody, RefusedChange),
)]
pub(crate) async fn handler(
    change: ChangeRequest,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    change.params.finish()?;
    let (entity_id, name) = path.into_inner();
    let id: EntityId = id(&entity_id)?;
    let entity = change.caller.entity(&change.app.engine, id, Role::Operator).await?;
    let act = async |envelope| {
        let verb = verb(&name, &change.body)?;
        change
            .caller
            .answer(&change.app.engine, change.app.engine.act(envelope, id, verb).await)
            .await
    };
    change.execute(&entity.manifest.namespace, act).await
}

fn verb(name: &str, body: &Body) -> Result<Verb, Problem> {
    let simple = |verb: Verb| body.json_or_default::<Nothing>().map(|_| verb);
    match name {
        "refresh" => simple(Verb::Refresh),
        "retry" => simple(Verb::Retry),
        "pause" => simple(Verb::Pause),
        "resume" => simple(Verb::Resume),
        "release" => simple(Verb::Release),
        "adopt" => Ok(Verb::Adopt(ExternalId(body.json::<AdoptBody>()?.external_id))),
        "cancel" => Ok(Verb::Cancel(body.json::<CancelBody>()?.operation)),
        "decide" => decision(body.json()?),
        own => {
            let input = if body.bytes.is_empty() {
                Value::Object(serde_json::Map::default())
            } else {
                body.json()?
            };
            Ok(Verb::KindAction(ActionName::from(own), input))
        }
    }
}

fn decision(asked: DecideBody) -> Result<Verb, Problem> {
    let decision = match (asked.decision, asked.external_id) {
        (DecisionName::Adopt, Some(id)) => Decision::Adopt(ExternalId(id)),
        (DecisionName::Create, None) => Decision::Create,
        (DecisionName::GiveUp, None) => Decision::GiveUp,
        (DecisionName::Adopt, None) => {
            let problem = Problem::unprocessable("bad-document", "adopt needs an object");
            return Err(problem.at("/external_id", "is missing"));
        }
        (_, Some(_)) => {
            let problem = Problem::unprocessable("bad-document", "only adopt takes an object");
            return Err(problem.at("/external_id", "is not expected"));
        }
    };
    Ok(Verb::Decide(decision))
}
