//! The state that every handler gets.

use std::sync::Arc;

use stateward_domain::id::Position;
use stateward_engine::Engine;

use crate::auth::admin_token::AdminToken;
use crate::concurrency_limits::{LimitSettings, Limits};
use crate::sse::hub::Hub;

/// Renders the histograms that were recorded so far, in Prometheus' text format.
pub type Histograms = Arc<dyn Fn() -> String + Send + Sync>;

/// The parts of an [`AppState`].
pub struct AppParts {
    /// The engine.
    pub engine: Engine,
    /// The first administrator's token.
    pub admin: AdminToken,
    /// The log's head when the process started.
    pub head_at_start: Position,
    /// Limits of concurrent work.
    pub limits: LimitSettings,
    /// See [`Histograms`].
    pub histograms: Histograms,
}

/// The application state: the engine and what the interface adds to it. Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    /// The engine.
    pub engine: Engine,
    /// The first administrator's token.
    pub admin: Arc<AdminToken>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) histograms: Histograms,
    /// The log's head when the process started: the service is ready once every projection has reached it.
    pub head_at_start: Position,
}

impl AppState {
    /// The state of a server made of `parts`.
    #[must_use]
    pub fn new(parts: AppParts) -> Self {
        let AppParts { engine, admin, head_at_start, limits, histograms } = parts;
        let limits = Arc::new(Limits::new(limits));
        let (admin, hub) = (Arc::new(admin), Arc::new(Hub::new()));
        Self { engine, admin, hub, limits, histograms, head_at_start }
    }
}
