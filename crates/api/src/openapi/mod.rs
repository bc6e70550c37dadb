//! The `OpenAPI` document, generated from the annotations of handlers and bodies.

mod document_endpoints;

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{RefOr, Required};
use utoipa::{Modify, OpenApi};

pub(crate) use document_endpoints::configure;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Stateward",
        description = "Control plane for managed entities. Every GET answers HEAD as well, without a body.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    modifiers(&Bearer, &OptionalBodies),
    security(("token" = [])),
    paths(
        crate::routes::entities::list::handler,
        crate::routes::entities::create::handler,
        crate::routes::entities::get::handler,
        crate::routes::entities::put::handler,
        crate::routes::entities::patch::handler,
        crate::routes::entities::delete::handler,
        crate::routes::entities::events::handler,
        crate::routes::entities::operations::handler,
        crate::routes::entities::act::handler,
        crate::routes::operations::list,
        crate::routes::operations::get,
        crate::routes::operations::cancel::handler,
        crate::routes::events::list::handler,
        crate::routes::kinds::list,
        crate::routes::kinds::get,
        crate::routes::backends::list,
        crate::routes::backends::get,
        crate::routes::backends::objects::handler,
        crate::routes::backends::act::handler,
        crate::routes::backends::reload::handler,
        crate::routes::projections::list,
        crate::routes::projections::rebuild,
        crate::routes::projections::retry,
        crate::routes::audit::verify::handler,
        crate::routes::audit::checkpoint::handler,
        crate::routes::audit::export::handler,
        crate::routes::system::unfreeze::handler,
        crate::routes::namespaces::list,
        crate::routes::namespaces::create::handler,
        crate::routes::namespaces::delete::handler,
        crate::routes::nodes::list,
        crate::routes::tokens::list,
        crate::routes::tokens::issue::handler,
        crate::routes::tokens::revoke::handler,
        crate::routes::health::livez,
        crate::routes::health::readyz,
        crate::routes::metrics::metrics
    )
)]
struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
    }
}

/// Requests with an optional body; declared as an `Option` it could also be `null`.
struct OptionalBodies;

impl OptionalBodies {
    const PATHS: [&str; 2] = ["/v1/audit/verify", "/v1/system/unfreeze"];
}

impl Modify for OptionalBodies {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for path in Self::PATHS {
            let item = document.paths.paths.get_mut(path);
            let operation = item.and_then(|item| item.post.as_mut());
            let body = operation.and_then(|operation| operation.request_body.as_mut());
            if let Some(RefOr::T(body)) = body {
                body.required = Some(Required::False);
            }
        }
    }
}

/// The document.
fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_names_every_word_as_it_is_sent() {
        use stateward_domain::entity::State;
        let document = serde_json::to_value(document()).expect("JSON");
        let words = &document["components"]["schemas"]["StateWord"]["enum"];
        let sent: Vec<_> = State::ALL.iter().map(|state| state.name()).collect();
        assert_eq!(words, &serde_json::json!(sent));
    }

    #[test]
    fn bodies_that_may_be_left_out_are_not_required() {
        let document = serde_json::to_value(document()).expect("JSON");
        for path in OptionalBodies::PATHS {
            let body = &document["paths"][path]["post"]["requestBody"];
            assert_eq!(body["required"], false, "{path}");
        }
    }

    #[test]
    fn every_operation_has_a_name_of_its_own() {
        let document = serde_json::to_value(document()).expect("JSON");
        let paths = document["paths"].as_object().expect("paths");
        let operations =
            paths.values().flat_map(|path| path.as_object().expect("methods").values());
        let mut names: Vec<_> = operations.map(|one| one["operationId"].to_string()).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all, "{names:?}");
    }
}
