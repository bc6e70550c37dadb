//! The exit code of an error: of the command line itself, or of a response.

use super::Problem;
use crate::exit::{CliError, Exit};

/// The end that an error leads to, by the first cause that has one.
pub(crate) fn exit_of(error: &anyhow::Error) -> Exit {
    if let Some(error) = error.chain().find_map(|cause| cause.downcast_ref::<CliError>()) {
        return error.exit();
    }
    let engine =
        error.chain().find_map(|cause| cause.downcast_ref::<stateward_engine::QueryError>());
    if let Some(stateward_engine::QueryError::PositionGone { .. }) = engine {
        return Exit::NotFound;
    }
    let problem = error.chain().find_map(|cause| cause.downcast_ref::<Problem>());
    problem.map_or(Exit::Failure, |problem| Exit::of_status(problem.status))
}

#[cfg(test)]
mod tests {
    use anyhow::Context;
    use reqwest::StatusCode;
    use serde_json::json;

    use super::*;

    #[test]
    fn every_error_has_its_code_also_with_context() {
        let problem = Problem::new(StatusCode::CONFLICT, json!({ "detail": "no" }));
        let error = Err::<(), _>(problem).context("local.file/x").expect_err("an error");
        assert_eq!(exit_of(&error), Exit::Conflict);
        assert_eq!(exit_of(&CliError::timeout("late").context("local.file/x")), Exit::Timeout);
        assert_eq!(exit_of(&CliError::usage("what?")), Exit::Usage);
        assert_eq!(exit_of(&anyhow::anyhow!("no")), Exit::Failure);
    }
}
