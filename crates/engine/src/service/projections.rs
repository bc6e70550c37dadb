//! Status of projections, rebuilds, and retries of quarantined streams.

use std::sync::Arc;
use std::time::Duration;

use stateward_domain::id::{Position, Version};
use stateward_domain::ports::cluster::Duty;
use stateward_domain::ports::projection::Quarantined;
use stateward_domain::ports::read_model::{ReadModel, Rebuild};

use super::{Engine, RunningModel};
use crate::error::QueryError;
use crate::projections::executor::Executor;
use crate::projections::runner::{self, ProjectionProgress};

/// How long a decision waits for the read models that it depends on.
pub(super) const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(5);

/// Between two questions whether another process is done with a rebuild.
const REBUILD_POLL: Duration = Duration::from_millis(200);

/// Status of one projection.
#[derive(Clone, Debug)]
pub struct ProjectionStatus {
    /// Its name.
    pub name: &'static str,
    /// Its progress.
    pub progress: ProjectionProgress,
    /// Quarantined streams.
    pub quarantined: Vec<Quarantined>,
}

impl Engine {
    /// Waits until every read model has applied all events up to `position`, in whichever process its projection runs;
    /// false when one has not after `within`. Zero only asks what this process knows.
    pub async fn caught_up(&self, position: Position, within: Duration) -> bool {
        let all = async {
            for RunningModel { model, progress } in &self.inner.models {
                runner::reached(progress, position, model.advanced_past(position)).await;
            }
        };
        tokio::time::timeout(within, all).await.is_ok()
    }

    /// Status of all projections.
    pub async fn projections(&self) -> Vec<ProjectionStatus> {
        let shared = &self.inner.shared;
        let local = shared.executor.borrow().clone();
        let mut all = vec![ProjectionStatus {
            name: Executor::NAME,
            progress: local.or_stored(shared.queue.checkpoint().await.ok()),
            quarantined: shared.queue.quarantined().await.unwrap_or_default(),
        }];
        for RunningModel { model, progress } in &self.inner.models {
            let local = progress.borrow().clone();
            let progress = local.or_stored(model.checkpoint().await.ok());
            let quarantined = model.quarantined().await.unwrap_or_default();
            all.push(ProjectionStatus { name: model.name(), progress, quarantined });
        }
        all
    }

    fn model(&self, name: &str) -> Result<&Arc<dyn ReadModel>, QueryError> {
        let found = self.inner.models.iter().find(|entry| entry.model.name() == name);
        found.map(|entry| &entry.model).ok_or(QueryError::NotFound)
    }

    /// Replays a projection from the start. The queue is replayed in place: only dispatchers read it, which then find
    /// work a little later. A read model is replayed beside the live one and swapped in, by one process at a time: a call
    /// that finds a rebuild under way, in whichever process, waits for it and has its result.
    ///
    /// # Errors
    /// [`QueryError::NotFound`] for another name, [`QueryError::Store`]; [`QueryError::Unavailable`] when another
    /// rebuild took its place, because this process was too slow to keep its duty.
    pub async fn rebuild(&self, projection: &str) -> Result<(), QueryError> {
        if projection == Executor::NAME {
            return Ok(self.inner.shared.queue.reset().await?);
        }
        let model = self.model(projection)?;
        let before = model.live().await?;
        let _alone_in_this_process = self.inner.rebuilding.lock().await;
        let (membership, duty) = (self.membership(), Duty::Rebuild(projection.to_owned()));
        while !membership.take(&duty).await? {
            tokio::time::sleep(REBUILD_POLL).await;
        }
        let rebuilt = if model.live().await? == before {
            self.rebuild_model(&**model, &duty).await
        } else {
            Ok(())
        };
        membership.give_back(&duty).await;
        rebuilt
    }

    /// Replays a read model beside the live one and swaps it in. Renews `duty`, which this process has.
    async fn rebuild_model(&self, model: &dyn ReadModel, duty: &Duty) -> Result<(), QueryError> {
        let Rebuild { id, model: beside } = model.begin_rebuild().await?;
        loop {
            // Without it, another process begins a rebuild, and this one ends with its next write.
            self.membership().holds(duty).await;
            let from = beside.checkpoint().await?;
            let page = self.log().read_log(from, runner::BATCH).await?;
            if page.through != from {
                beside.apply(from, page.through, &page.events).await?;
            } else if model.swap(id).await? {
                return Ok(());
            }
            // Else the live read model is ahead, and so is the log.
        }
    }

    /// Replays quarantined streams of a projection; those that still cannot be applied stay quarantined.
    ///
    /// # Errors
    /// [`QueryError::NotFound`] for another projection, [`QueryError::Store`].
    pub async fn retry_quarantined(&self, projection: &str) -> Result<(), QueryError> {
        if projection == Executor::NAME {
            return self.retry_quarantined_work().await;
        }
        let model = self.model(projection)?;
        for entry in model.quarantined().await? {
            let Ok(stream) = entry.stream.parse() else { continue };
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

    async fn retry_quarantined_work(&self) -> Result<(), QueryError> {
        for entry in self.inner.shared.queue.quarantined().await? {
            let Ok(stream) = entry.stream.parse() else { continue };
            if let Err(error) = self.inner.executor.retry(self.log(), &stream).await {
                tracing::warn!(stream = entry.stream, %error, "the stream stays set aside");
            }
        }
        Ok(())
    }
}
