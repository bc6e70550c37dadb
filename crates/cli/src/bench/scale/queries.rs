//! The queries that are sent to both servers.

use super::populated_server::PopulatedServer;

/// How a query is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Served {
    /// By an index alone: the cost depends on the page only.
    ByIndex,
    /// By testing a bounded number of rows, so the page may be short.
    ByRows,
}

/// A query.
#[derive(Clone, Copy)]
pub(super) struct Query {
    pub(super) name: &'static str,
    path: &'static str,
    pub(super) served: Served,
    deep: bool,
}

impl Query {
    /// Its path on a server, for a page of this size.
    pub(super) async fn path(
        self,
        server_state: &mut PopulatedServer,
        page: usize,
    ) -> anyhow::Result<String> {
        let Self { name, path, deep, .. } = self;
        Ok(match (name, deep) {
            (METRICS, _) => path.to_owned(),
            (_, false) => format!("{path}page_size={page}"),
            (_, true) => {
                format!("{path}page_size={page}&page_token={}", server_state.deep().await?)
            }
        })
    }
}

const fn by_index(name: &'static str, path: &'static str) -> Query {
    Query { name, path, served: Served::ByIndex, deep: false }
}

const fn by_rows(name: &'static str, path: &'static str) -> Query {
    Query { name, path, served: Served::ByRows, deep: false }
}

/// The name of the query of `/metrics`, which has a separate target.
pub(super) const METRICS: &str = "/metrics";

pub(super) fn all() -> Vec<Query> {
    vec![
        by_index("all", "/v1/entities?"),
        Query { deep: true, ..by_index("deep page", "/v1/entities?") },
        by_index("namespace", "/v1/entities?namespace=few&"),
        by_index("kind", "/v1/entities?kind=fake.thing&"),
        by_index("kind, namespace", "/v1/entities?kind=fake.thing&namespace=few&"),
        by_index("kind that nothing has", "/v1/entities?kind=local.file&"),
        by_index("name", "/v1/entities?name=rare-3&"),
        by_index(
            "name, kind, namespace",
            "/v1/entities?name=rare-3&kind=fake.thing&namespace=few&",
        ),
        by_index("name that nothing has", "/v1/entities?name=nothing&"),
        by_index("backend", "/v1/entities?backend=rare&"),
        by_index("backend, namespace", "/v1/entities?backend=rare&namespace=few&"),
        by_index("backend that nothing is on", "/v1/entities?backend=nothing&"),
        by_index("state=ok", "/v1/entities?state=ok&"),
        by_index("state=erred", "/v1/entities?state=erred&"),
        by_index("state=erred, namespace", "/v1/entities?state=erred&namespace=few&"),
        by_index("state=erred, other namespace", "/v1/entities?state=erred&namespace=default&"),
        by_index("state=deleted", "/v1/entities?state=deleted&"),
        by_index("state=deleted, namespace", "/v1/entities?state=deleted&namespace=few&"),
        by_index("drifted=true", "/v1/entities?drifted=true&"),
        by_index("drifted=true, namespace", "/v1/entities?drifted=true&namespace=few&"),
        by_index("drifted=true, other namespace", "/v1/entities?drifted=true&namespace=default&"),
        by_index("label that many have", "/v1/entities?label=team%3Dstorage&"),
        by_index("label that few have", "/v1/entities?label=rare%3Dyes&"),
        by_index("label that nothing has", "/v1/entities?label=team%3Dnothing&"),
        by_index("label, namespace", "/v1/entities?label=team%3Dstorage&namespace=few&"),
        by_index("selector a in (b,c)", "/v1/entities?selector=rare%20in%20(yes,no)&"),
        by_index("selector a", "/v1/entities?selector=rare&"),
        by_rows("selector !a that all have", "/v1/entities?selector=%21all&"),
        by_rows("two labels", "/v1/entities?label=team%3Dstorage&label=stage%3Dnothing&"),
        by_rows(
            "drifted=false, backend, kind",
            "/v1/entities?drifted=false&backend=sandbox&kind=local.file&",
        ),
        by_index("operations", "/v1/operations?"),
        by_index("operations, state=failed", "/v1/operations?state=failed&"),
        by_index(METRICS, "/metrics"),
    ]
}
