//! How projections stand, and replaying them.

use std::sync::Arc;
use std::time::Duration;

use stateward_domain::envelope::StreamId;
use stateward_domain::id::{Position, Version};
use stateward_domain::ports::read_model::{Quarantined, ReadModel};

use super::{Engine, RunningModel};
use crate::error::Error;
use crate::projections::executor::Executor;
use crate::projections::runner::{self, ProjectionProgress};

/// How long a decision waits for the lists that it rests on.
pub(super) const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(5);

/// How one projection stands.
#[derive(Clone, Debug)]
pub struct ProjectionStatus {
    /// Its name.
    pub name: &'static str,
    /// Where it stands.
    pub progress: ProjectionProgress,
    /// Streams that it set aside.
    pub quarantined: Vec<Quarantined>,
}

impl Engine {
    /// Waits until every read model has taken everything up to `position`; false when one had not after `within`.
    pub async fn caught_up(&self, position: Position, within: Duration) -> bool {
        let all = async {
            for RunningModel { progress, .. } in &self.inner.models {
                let mut progress = progress.subscribe();
                // The sender lives as long as the engine does.
                let _ = progress.wait_for(|progress| progress.position >= position).await;
            }
        };
        tokio::time::timeout(within, all).await.is_ok()
    }

    /// How the projections stand.
    pub async fn projections(&self) -> Vec<ProjectionStatus> {
        let mut all = vec![ProjectionStatus {
            name: Executor::NAME,
            progress: self.inner.shared.executor.borrow().clone(),
            quarantined: Vec::new(),
        }];
        for RunningModel { model, progress } in &self.inner.models {
            let progress = progress.borrow().clone();
            let quarantined = model.quarantined().await.unwrap_or_default();
            all.push(ProjectionStatus { name: model.name(), progress, quarantined });
        }
        all
    }

    fn model(&self, name: &str) -> Result<&Arc<dyn ReadModel>, Error> {
        let found = self.inner.models.iter().find(|entry| entry.model.name() == name);
        found.map(|entry| &entry.model).ok_or(Error::NotFound)
    }

    /// Replays a projection from the start: the queue in place, because no one reads it but the dispatchers,
    /// who then find work a moment later; the read model beside the live one.
    ///
    /// # Errors
    /// [`Error::NotFound`] for another name, [`Error::Unavailable`].
    pub async fn rebuild(&self, projection: &str) -> Result<(), Error> {
        if projection == Executor::NAME {
            let reset = self.inner.shared.queue.reset().await;
            return reset.map_err(|error| Error::Unavailable(error.to_string()));
        }
        let model = self.model(projection)?;
        let beside: Arc<dyn ReadModel> = Arc::from(model.begin_rebuild().await?);
        loop {
            let from = beside.checkpoint().await?;
            let events = self.log().read_log(from, runner::BATCH).await?;
            match events.last() {
                Some(last) => ReadModel::apply(&*beside, from, last.position, &events).await?,
                None if model.swap().await? => return Ok(()),
                // The live one has moved on: so has the log.
                None => {}
            }
        }
    }

    /// Replays the streams that the read model set aside; those that still cannot be applied stay there.
    ///
    /// # Errors
    /// [`Error::NotFound`] for another projection, [`Error::Unavailable`].
    pub async fn retry_quarantined(&self, projection: &str) -> Result<(), Error> {
        let model = self.model(projection)?;
        for entry in model.quarantined().await? {
            let Some((category, id)) = entry.stream.split_once('/') else { continue };
            let stream = StreamId { category: category.to_owned(), id: id.to_owned() };
            let (mut events, mut after) = (Vec::new(), Version::default());
            loop {
                let page = self.log().read_stream(&stream, after, runner::BATCH).await?;
                let Some(last) = page.last() else { break };
                after = last.version;
                events.extend(page);
            }
            if let Err(error) = model.retry(&entry.stream, &events).await {
                tracing::warn!(stream = entry.stream, %error, "the stream stays set aside");
            }
        }
        Ok(())
    }
}
