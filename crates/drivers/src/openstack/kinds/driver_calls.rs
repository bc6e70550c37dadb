//! The calls of a driver, as far as all kinds share them.

use serde_json::{Map, Value};
use stateward_domain::failure::{Effect, ErrorClass, Failure};
use stateward_domain::field_error::FieldError;
use stateward_domain::ports::driver::{Act, Create, ObjectRef, Outcome, Plan, Update};

use super::blocker::{blocked_failure, wrong_state};
use super::kind_meta::Mutability;
use super::object_stage::{job_for, poll_stage};
use super::pending_job::{PendingJob, Phase};
use super::{ActionOutcome, Kind, Remaining, Stage, owner_mark, to_external_id, unknown_members};
use crate::openstack::client::{ApiError, CallClient, ErrorKind};

/// A change of an object in place.
#[derive(Clone, Copy)]
pub(in crate::openstack) struct Change<'a> {
    pub(super) target: &'a ObjectRef,
    pub(super) spec: &'a Value,
    /// The fields to change (JSON pointers).
    pub(super) fields: &'a [String],
    /// The attributes that the change was planned from. What others plugged in later is not in them, and stays.
    pub(super) observed: &'a Value,
}

/// Pointer of a plan for an object that is not settled.
const STATUS: &str = "/status";

/// See `Driver::check`.
pub(in crate::openstack) fn check(kind: &dyn Kind, spec: &Value) -> Result<Value, Vec<FieldError>> {
    let Some(members) = spec.as_object() else {
        let message = "must be an object".to_owned();
        return Err(vec![FieldError { pointer: String::new(), message }]);
    };
    let mut normal = members.clone();
    let faults = kind.normalise(&mut normal);
    if faults.is_empty() { Ok(Value::Object(normal)) } else { Err(faults) }
}

/// See `Driver::plan`. An object that the cloud still works on, or that failed, is never as desired. One that holds what
/// is not understood is never replaced: `update` reports why.
pub(in crate::openstack) fn plan(kind: &dyn Kind, observed: &Value, spec: &Value) -> Plan {
    if kind.stage(observed) != Stage::Settled {
        // Its attributes are incomplete while it is not settled, so they are not compared.
        return Plan::Update { fields: vec![STATUS.to_owned()] };
    }
    let differing = kind.meta().differing(observed, spec);
    let fixed = differing.iter().any(|field| kind.is_fixed(field, observed));
    let mut fields: Vec<_> = differing.iter().map(|field| format!("/{}", field.name)).collect();
    if owner_mark::is_missing(observed) {
        fields.push(owner_mark::FIELD.to_owned());
    }
    if fixed && !unknown_members::is_partly(observed) {
        Plan::Replace { fields }
    } else if fields.is_empty() {
        Plan::Noop
    } else {
        Plan::Update { fields }
    }
}

/// See `Driver::create`.
pub(in crate::openstack) async fn create(
    kind: &dyn Kind,
    client: CallClient<'_>,
    create: &Create,
) -> Result<Outcome, Failure> {
    let row = kind.create_object(client, create).await?;
    let Some(id) = kind.id(&row) else {
        let message =
            format!("{} made something and does not say what", kind.meta().service.name());
        return Err(Failure::doubtful(ErrorClass::Ambiguous, "nonsense_reply", message));
    };
    let external_id = to_external_id(id);
    client.context.control.record_id(&external_id).await?;
    kind.after_create(client, id, create).await.map_err(ApiError::partial)?;
    Ok(match kind.poll_ms() {
        Some(poll) => {
            PendingJob::new(kind.meta().name, id, &create.owner_key, Phase::Create).pending(poll)
        }
        None => Outcome::Done { external_id: Some(external_id), attributes: Value::Null },
    })
}

/// See `Driver::update`.
pub(in crate::openstack) async fn update(
    kind: &dyn Kind,
    client: CallClient<'_>,
    update: &Update,
) -> Result<Outcome, Failure> {
    let fixed = |field: &&String| {
        ![STATUS, owner_mark::FIELD].contains(&field.as_str())
            && kind.meta().field(field).is_none_or(|field| field.mutability == Mutability::Never)
    };
    if let Some(field) = update.fields.iter().find(fixed) {
        if unknown_members::is_partly(&update.observed) {
            return Err(unknown_members::not_replaced(field, &update.observed));
        }
        let message = format!("{field} cannot change");
        return Err(Failure::harmless(ErrorClass::Immutable, "immutable", message));
    }
    unknown_members::refuse(kind, &update.observed, &update.spec, &update.fields)?;
    let target = &update.target;
    let mut fields = update.fields.clone();
    if fields.iter().any(|field| field == owner_mark::FIELD) {
        // First: what follows may replace the place that holds it.
        owner_mark::restore(kind, client, target).await?;
        fields.retain(|field| field != owner_mark::FIELD);
    }
    if fields.iter().any(|field| field == STATUS) {
        // The change waits until the cloud has finished its current work.
        fields.retain(|field| field != STATUS);
        let mut job = job_for(target, Phase::Update);
        job.spec = part_of(&update.spec, &fields);
        job.observed = part_of(&update.observed, &fields);
        job.fields = fields;
        return advance_job(kind, client, job).await;
    }
    let (spec, observed) = (&update.spec, &update.observed);
    apply(kind, client, &Change { target, spec, fields: &fields, observed }).await
}

async fn apply(
    kind: &dyn Kind,
    client: CallClient<'_>,
    change: &Change<'_>,
) -> Result<Outcome, Failure> {
    if change.fields.is_empty() {
        return Ok(update_outcome(kind, change, Remaining::Nothing));
    }
    match kind.update_fields(client, change).await {
        Ok(left) => Ok(update_outcome(kind, change, left)),
        Err(error) => Err(wrong_state(kind, client, change.target, error).await.into()),
    }
}

fn update_outcome(kind: &dyn Kind, change: &Change<'_>, left: Remaining) -> Outcome {
    let target = change.target;
    match (left, kind.poll_ms()) {
        (Remaining::Working(fields), Some(poll)) => {
            let mut job = job_for(target, Phase::Update);
            job.spec = part_of(change.spec, &fields);
            job.observed = part_of(change.observed, &fields);
            job.fields = fields;
            job.pending(poll)
        }
        _ => {
            Outcome::Done { external_id: Some(target.external_id.clone()), attributes: Value::Null }
        }
    }
}

/// The members of `whole` that `fields` name.
fn part_of(whole: &Value, fields: &[String]) -> Value {
    let part = |field: &String| {
        let name = field.strip_prefix('/')?;
        Some((name.to_owned(), whole.get(name)?.clone()))
    };
    let part: Map<_, _> = fields.iter().filter_map(part).collect();
    if part.is_empty() { Value::Null } else { Value::Object(part) }
}

/// See `Driver::delete`.
pub(in crate::openstack) async fn delete(
    kind: &dyn Kind,
    client: CallClient<'_>,
    target: &ObjectRef,
) -> Result<Outcome, Failure> {
    match kind.remove(client, target).await {
        Ok(()) => Ok(match kind.poll_ms() {
            Some(poll) => job_for(target, Phase::Delete).pending(poll),
            None => deleted(),
        }),
        Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::AlreadyDone) => {
            Ok(deleted())
        }
        Err(error) if error.kind == ErrorKind::Conflict && kind.poll_ms().is_some() => {
            match poll_stage(kind, client, &job_for(target, Phase::Delete)).await? {
                // The object is in transition: it is deleted afterwards.
                Some((Stage::Working, _)) => {
                    Ok(job_for(target, Phase::Delete).pending(kind.poll_ms().unwrap_or_default()))
                }
                Some(_) => Err(blocked_failure(kind, client, target, error).await),
                None => Ok(deleted()),
            }
        }
        Err(error) if error.kind == ErrorKind::Blocked => {
            Err(blocked_failure(kind, client, target, error).await)
        }
        Err(error) => Err(error.into()),
    }
}

fn deleted() -> Outcome {
    Outcome::Done { external_id: None, attributes: Value::Null }
}

/// See `Driver::action`.
pub(in crate::openstack) async fn act(
    kind: &dyn Kind,
    client: CallClient<'_>,
    act: &Act,
) -> Result<Outcome, Failure> {
    let external_id = Some(act.target.external_id.clone());
    Ok(match (kind.perform_action(client, act).await?, kind.poll_ms()) {
        (ActionOutcome::Pending, Some(poll)) => {
            job_for(&act.target, Phase::Action(act.action.0.clone())).pending(poll)
        }
        (ActionOutcome::Finished(attributes), _) => Outcome::Done { external_id, attributes },
        (ActionOutcome::Pending, None) => Outcome::Done { external_id, attributes: Value::Null },
    })
}

/// See `Driver::resume`.
pub(in crate::openstack) async fn resume(
    kind: &dyn Kind,
    client: CallClient<'_>,
    job: PendingJob,
) -> Result<Outcome, Failure> {
    advance_job(kind, client, job).await
}

/// See `Driver::cancel`: none of the services can cancel work.
pub(in crate::openstack) fn cancel() -> Failure {
    let message = "the cloud cannot be stopped; what comes of it is seen afterwards";
    Failure::harmless(ErrorClass::Invalid, "not_cancellable", message)
}

async fn advance_job(
    kind: &dyn Kind,
    client: CallClient<'_>,
    job: PendingJob,
) -> Result<Outcome, Failure> {
    let poll = kind.poll_ms().unwrap_or(1_000);
    let Some((stage, row)) = poll_stage(kind, client, &job).await? else {
        if job.phase == Phase::Delete {
            return Ok(deleted());
        }
        // Some services keep the failure reason of an object that they removed.
        let why = kind.failure_reason(client, job.id(), &Value::Null).await;
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        let message = format!("it vanished while the cloud worked on it{why}");
        return Err(Failure::doubtful(ErrorClass::NotFound, "vanished", message));
    };
    match (stage, &job.phase) {
        (Stage::Working, _) => Ok(job.pending(poll)),
        (Stage::Settled, Phase::Delete) => delete(kind, client, &job.target).await,
        (Stage::Settled, _) if !job.fields.is_empty() => {
            let PendingJob { target, spec, fields, observed, .. } = &job;
            apply(kind, client, &Change { target, spec, fields, observed }).await
        }
        (Stage::Settled, _) => Ok(Outcome::Done {
            external_id: Some(job.target.external_id.clone()),
            attributes: Value::Null,
        }),
        (Stage::Failed(status), phase) => {
            let why = kind.failure_reason(client, job.id(), &row).await;
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            let message = format!("it is in status {status}{why}");
            let mut failure = Failure::harmless(ErrorClass::Invalid, "failed_status", message);
            failure.effect = Effect::Partial;
            let unused =
                *phase == Phase::Create && kind.recreate_on_error() || kind.never_worked(&row);
            if *phase == Phase::Delete && kind.retries_failed_deletion() {
                failure.class = ErrorClass::Transient;
            } else if *phase != Phase::Delete && unused {
                // The object never worked, so removing it loses nothing; the next attempt creates another one.
                failure.class = ErrorClass::Transient;
                kind.remove(client, &job.target).await?;
            }
            Err(failure)
        }
    }
}
