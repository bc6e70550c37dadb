//! Control streams: the streams of backends, access and the system itself. Each is folded, decided on and appended to
//! in the same way.

use std::sync::Arc;

use stateward_domain::access::{Access, AccessEvent};
use stateward_domain::backend::{Backend, BackendEvent};
use stateward_domain::entity::claims;
use stateward_domain::envelope::{DomainEvent, Envelope, NewEvent, Recorded, StreamId};
use stateward_domain::id::Version;
use stateward_domain::ports::event_store::{
    Append, AppendError, EventStore, Holder, may_have_more,
};
use stateward_domain::system::{System, SystemEvent};
use stateward_domain::time::Timestamp;

use crate::clock::ClockAndIds;
use crate::commands::appender::Appender;
use crate::commands::idempotency::first_request;
use crate::error::{CommandError, QueryError};

/// Events read per page.
const PAGE: usize = 500;
/// Attempts to append before the caller gets [`CommandError::Contended`].
const TRIES: u32 = 20;

/// The state that a control stream folds to.
pub trait Fold: Default + Send {
    /// Events of the stream.
    type Event: DomainEvent;
    /// Whether this binary can read the stored type at that schema version.
    fn known(event_type: &str, schema_version: u32) -> bool;
    /// Number of folded events.
    fn version(&self) -> Version;
    /// Folds one more event.
    fn evolve(&mut self, event: &Self::Event);
    /// The event that keeps the idempotency key of an accepted request without effect.
    fn request_recorded(at: Timestamp) -> Self::Event;
}

impl Fold for Backend {
    type Event = BackendEvent;
    fn known(event_type: &str, schema_version: u32) -> bool {
        BackendEvent::known(event_type, schema_version)
    }
    fn version(&self) -> Version {
        self.version
    }
    fn evolve(&mut self, event: &BackendEvent) {
        self.evolve(event);
    }
    fn request_recorded(at: Timestamp) -> BackendEvent {
        BackendEvent::RequestRecorded { at }
    }
}

impl Fold for Access {
    type Event = AccessEvent;
    fn known(event_type: &str, schema_version: u32) -> bool {
        AccessEvent::known(event_type, schema_version)
    }
    fn version(&self) -> Version {
        self.version
    }
    fn evolve(&mut self, event: &AccessEvent) {
        self.evolve(event);
    }
    fn request_recorded(at: Timestamp) -> AccessEvent {
        AccessEvent::RequestRecorded { at }
    }
}

impl Fold for System {
    type Event = SystemEvent;
    fn known(event_type: &str, schema_version: u32) -> bool {
        SystemEvent::known(event_type, schema_version)
    }
    fn version(&self) -> Version {
        self.version
    }
    fn evolve(&mut self, event: &SystemEvent) {
        self.evolve(event);
    }
    fn request_recorded(at: Timestamp) -> SystemEvent {
        SystemEvent::RequestRecorded { at }
    }
}

/// The result of a change.
pub struct StreamChange<S> {
    /// The stream's state after the change.
    pub state: S,
    /// Version of the first request's last event, when this request repeats it: then nothing was appended. `None` = a
    /// new request.
    pub repeats: Option<Version>,
}

/// The control streams of a log. Cheap to clone.
#[derive(Clone)]
pub struct ControlStreams {
    log: Arc<dyn EventStore>,
    appender: Appender,
    clock: ClockAndIds,
}

impl ControlStreams {
    /// Reads `log`, and writes it by `appender`.
    #[must_use]
    pub fn new(log: Arc<dyn EventStore>, appender: Appender, clock: ClockAndIds) -> Self {
        Self { log, appender, clock }
    }

    /// Folds `stream`; the default state when it is empty.
    ///
    /// # Errors
    /// [`QueryError::Store`], [`QueryError::Unreadable`].
    pub async fn load<S: Fold>(&self, stream: &StreamId) -> Result<S, QueryError> {
        self.load_up_to(stream, Version(u64::MAX)).await
    }

    /// Folds `stream` up to and including `version`.
    ///
    /// # Errors
    /// [`QueryError::Store`], [`QueryError::Unreadable`].
    pub async fn load_up_to<S: Fold>(
        &self,
        stream: &StreamId,
        version: Version,
    ) -> Result<S, QueryError> {
        self.fold(stream, S::default(), version).await
    }

    /// Folds the events of `stream` that follow `known`, a state of it.
    ///
    /// # Errors
    /// [`QueryError::Store`], [`QueryError::Unreadable`].
    pub async fn catch_up<S: Fold>(&self, stream: &StreamId, known: S) -> Result<S, QueryError> {
        self.fold(stream, known, Version(u64::MAX)).await
    }

    async fn fold<S: Fold>(
        &self,
        stream: &StreamId,
        mut state: S,
        version: Version,
    ) -> Result<S, QueryError> {
        loop {
            let page = self.log.read_stream(stream, state.version(), PAGE).await?;
            for recorded in page.iter().take_while(|event| event.version <= version) {
                state.evolve(&recorded.decode(S::known)?);
            }
            if !may_have_more(&page, PAGE) || state.version() >= version {
                return Ok(state);
            }
        }
    }

    /// The state of the system; `None` = this version cannot read it: the restore hold counts as set, so that nothing acts
    /// in doubt.
    ///
    /// # Errors
    /// [`QueryError::Store`].
    pub async fn system(&self) -> Result<Option<System>, QueryError> {
        match self.load::<System>(&StreamId::system()).await {
            Ok(system) => Ok(Some(system)),
            Err(QueryError::Unreadable(error)) => {
                tracing::error!(%error, "the stream of the system cannot be read: nothing is changed");
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    /// The state right after the request that `changed` stands for: for a repeated request, that of the first one.
    ///
    /// # Errors
    /// [`QueryError::Store`], [`QueryError::Unreadable`].
    pub async fn state_after<S: Fold>(
        &self,
        stream: &StreamId,
        changed: StreamChange<S>,
    ) -> Result<S, QueryError> {
        match changed.repeats {
            None => Ok(changed.state),
            Some(version) => self.load_up_to(stream, version).await,
        }
    }

    /// The event of `stream` at `version`.
    ///
    /// # Errors
    /// [`QueryError::NotFound`], [`QueryError::Store`], [`QueryError::Unreadable`].
    pub async fn event<S: Fold>(
        &self,
        stream: &StreamId,
        version: Version,
    ) -> Result<S::Event, QueryError> {
        Ok(read_event(&*self.log, stream, version).await?.decode(S::known)?)
    }

    /// The first request with the idempotency key of `envelope`; `None` = this is the first, or it has no key.
    ///
    /// # Errors
    /// [`CommandError::KeyReused`], [`QueryError::Store`].
    pub async fn first_request(&self, envelope: &Envelope) -> Result<Option<Holder>, CommandError> {
        first_request(&*self.log, envelope).await
    }

    /// Appends the events that `decide` returns for the present state. If it returns none and the request has an
    /// idempotency key, only its acceptance is appended. Appends nothing when the request (key and fingerprint of
    /// `envelope`) was carried out before.
    ///
    /// # Errors
    /// What `decide` returns, [`CommandError::KeyReused`], [`QueryError::Store`], [`QueryError::Unreadable`],
    /// [`CommandError::Contended`].
    pub async fn change<S: Fold, E: From<CommandError>>(
        &self,
        stream: &StreamId,
        envelope: &Envelope,
        decide: impl Fn(&S) -> Result<Vec<S::Event>, E> + Send,
    ) -> Result<StreamChange<S>, E> {
        for _ in 0..TRIES {
            let mut state: S = self.newest(stream).await?;
            // Checked after the state was read: a concurrent request with the same key makes the append a conflict.
            let repeats = self.first_request(envelope).await?.map(|holder| holder.version);
            if repeats.is_some() {
                return Ok(StreamChange { state: self.newest(stream).await?, repeats });
            }
            let mut events = decide(&state)?;
            if events.is_empty() && envelope.idempotency.is_some() {
                events.push(S::request_recorded(self.clock.now()));
            }
            if events.is_empty() {
                return Ok(StreamChange { state, repeats });
            }
            let append = self.encoded::<S>(stream, state.version(), &events, envelope)?;
            match self.appender.append(append).await {
                Ok(_) => {
                    for event in &events {
                        state.evolve(event);
                    }
                    return Ok(StreamChange { state, repeats });
                }
                Err(AppendError::Conflict { .. } | AppendError::ClaimTaken { .. }) => {}
                Err(other) => return Err(CommandError::from(other).into()),
            }
        }
        Err(CommandError::Contended.into())
    }

    /// As [`load`](Self::load), within a command.
    async fn newest<S: Fold>(&self, stream: &StreamId) -> Result<S, CommandError> {
        Ok(self.load(stream).await?)
    }

    fn encoded<S: Fold>(
        &self,
        stream: &StreamId,
        expected: Version,
        events: &[S::Event],
        envelope: &Envelope,
    ) -> Result<Append, CommandError> {
        let encode = |event| NewEvent::encode(self.clock.event_id(), event, envelope);
        Ok(Append {
            stream: stream.clone(),
            expected,
            events: events.iter().map(encode).collect::<Result<_, _>>()?,
            claims: Vec::from_iter(claims::of_request(envelope, events.len() - 1)),
        })
    }
}

/// The stored event of `stream` at `version`, which took a claim.
///
/// # Errors
/// [`QueryError::Unavailable`] while the holder of the claim is pending: its event is not visible yet.
/// [`QueryError::Store`].
pub(crate) async fn read_event(
    log: &dyn EventStore,
    stream: &StreamId,
    version: Version,
) -> Result<Recorded, QueryError> {
    let before = Version(version.0.saturating_sub(1));
    log.read_stream(stream, before, 1)
        .await?
        .pop()
        .ok_or_else(|| QueryError::Unavailable("the first request is not visible yet".to_owned()))
}
