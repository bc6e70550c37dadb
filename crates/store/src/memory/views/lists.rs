//! Lists: keyset pages over the live tables.

use async_trait::async_trait;
use stateward_domain::entity::operation::OperationRow;
use stateward_domain::id::{EntityId, OperationId, Position};
use stateward_domain::ports::projection::ModelError;
use stateward_domain::ports::read_model::{
    EntityCount, EntityFilter, EntityRow, OperationFilter, Page, Views,
};
use uuid::Uuid;

use super::MemoryViews;
use super::tables::{IndexedTable, Listed, Tables};
use crate::shared::views::columns;
use crate::shared::views::page::{self, IdRange, ListSource, PageRequest};
use crate::shared::views::plan::Plan;

/// Rows that are in one of the tables.
pub(crate) trait InTable: Listed {
    fn table(tables: &Tables) -> &IndexedTable<Self>;
}

impl InTable for EntityRow {
    fn table(tables: &Tables) -> &IndexedTable<Self> {
        &tables.entities
    }
}

impl InTable for OperationRow {
    fn table(tables: &Tables) -> &IndexedTable<Self> {
        &tables.operations
    }
}

impl<R> ListSource<R::Source, R> for MemoryViews
where
    R: InTable + Send + Sync,
    R::Source: Sync,
{
    async fn as_of(&self) -> Result<Position, ModelError> {
        Ok(self.instances.read().await.live.checkpoint)
    }

    async fn bound(
        &self,
        plan: &Plan<R::Source>,
        range: IdRange,
        count: usize,
    ) -> Result<Option<Uuid>, ModelError> {
        let instances = self.instances.read().await;
        Ok(R::table(&instances.live.tables).bound(plan, range, count))
    }

    async fn rows(
        &self,
        plan: &Plan<R::Source>,
        range: IdRange,
        limit: usize,
    ) -> Result<Vec<(Uuid, R)>, ModelError> {
        let instances = self.instances.read().await;
        Ok(R::table(&instances.live.tables).list(plan, range, limit))
    }
}

#[async_trait]
impl Views for MemoryViews {
    async fn entity(&self, id: EntityId) -> Result<Option<EntityRow>, ModelError> {
        Ok(self.instances.read().await.live.tables.entities.get(id.0).cloned())
    }

    async fn entities(
        &self,
        filter: &EntityFilter,
        size: usize,
        token: Option<&str>,
    ) -> Result<Page<EntityRow>, ModelError> {
        let request = PageRequest::of_entities(filter, size, token);
        page::read(self, PageRequest { scanned_max: self.scanned_max, ..request }).await
    }

    async fn operation(&self, id: OperationId) -> Result<Option<OperationRow>, ModelError> {
        Ok(self.instances.read().await.live.tables.operations.get(id.0).cloned())
    }

    async fn operations(
        &self,
        filter: &OperationFilter,
        size: usize,
        token: Option<&str>,
    ) -> Result<Page<OperationRow>, ModelError> {
        let request = PageRequest::of_operations(filter, size, token);
        page::read(self, PageRequest { scanned_max: self.scanned_max, ..request }).await
    }

    async fn counts(&self) -> Result<Vec<EntityCount>, ModelError> {
        let instances = self.instances.read().await;
        let counts = instances.live.tables.counts().map(|(group, number)| {
            let (state, blocked) = (group.state.to_owned(), group.blocked.to_owned());
            (group.backend.clone(), group.kind.clone(), state, blocked, group.dead, number)
        });
        counts.map(|columns| Ok(columns::count(columns)?)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use super::*;
    use crate::shared::views::filter_cases;
    use crate::shared::views::fold::RowStore as _;
    use crate::shared::views::labels_and_counts::BeforeDelivery;

    #[tokio::test]
    async fn pages_hold_what_fits_once_and_in_order_however_short_they_are() {
        let all = filter_cases::rows();
        let model = MemoryViews { scanned_max: 7, ..MemoryViews::default() };
        let rows: Vec<_> = all.iter().collect();
        {
            let tables = &mut model.instances.write().await.live.tables;
            tables.save(&BeforeDelivery::default(), &rows, &[]).await.expect("saved");
        }
        filter_cases::check(&model, &all).await;
    }

    #[tokio::test]
    async fn rows_that_are_taken_out_leave_nothing_behind() {
        let model = MemoryViews::default();
        let tables = &mut model.instances.write().await.live.tables;
        let all = filter_cases::rows();
        let rows: Vec<_> = all.iter().collect();
        tables.save(&BeforeDelivery::default(), &rows, &[]).await.expect("saved");
        let ids: HashSet<EntityId> = all.iter().map(|row| row.entity.id).collect();
        assert_eq!(tables.load_entities(&ids).await.expect("loaded").len(), all.len());
        for id in ids {
            let taken = tables.take(id).expect("it has rows");
            tables.put(taken);
            assert!(tables.take(id).is_some() && tables.take(id).is_none());
        }
        assert_eq!(tables.counts().collect::<BTreeMap<_, _>>(), BTreeMap::new());
        assert!(tables.entities.is_empty() && tables.operations.is_empty());
    }
}
