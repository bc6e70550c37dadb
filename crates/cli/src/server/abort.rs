//! Ends the process when its files may belong to another process.

use crate::exit::Exit;
use crate::presentation::terminal;

/// Prints the error and exits at once: nothing that is open is flushed or closed.
pub(crate) fn abort(error: &anyhow::Error) -> ! {
    terminal::report_fatal(error);
    std::process::exit(Exit::Failure.code().into())
}
