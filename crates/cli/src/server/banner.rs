//! The message of `serve --apply` once the manifests are applied.

use std::path::Path;

use crate::presentation::terminal;

/// Prints the address, the token's place and commands to try.
pub(crate) fn print(url: &str, token_file: &Path, applied: usize) {
    let token = token_file.display();
    let managed = token_file.with_file_name("managed");
    let managed = managed.display();
    let program = std::env::args().next().unwrap_or_else(|| "stateward".to_owned());
    let text = format!(
        "\nstateward serves {url}; {applied} example entities are declared.\n\
         The administrator's token is in {token}. Try, in another terminal:\n\n  \
         alias stateward={program}; export STATEWARD_SERVER={url} STATEWARD_TOKEN_FILE={token}\n  \
         stateward get\n  \
         stateward describe file/motd\n  \
         stateward watch file &\n  \
         echo drift > {managed}/etc/motd      # put back within 10 s\n  \
         stateward history file/motd\n  \
         stateward explain file\n\n\
         The interface is at {url}/docs. Press Ctrl-C to end.\n"
    );
    // The server keeps running when the reader of its output is gone.
    if let Err(error) = terminal::print(&text) {
        tracing::debug!(%error, "the banner is not printed");
    }
}
