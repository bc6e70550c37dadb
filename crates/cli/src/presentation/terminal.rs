//! The terminal: data goes to standard output; messages, questions and progress go to standard error.
//!
//! **Architecture invariant:** a closed pipe or a full disk never panics, so nothing outside of this module writes to
//! either stream: the macros of the standard library panic there. A message that cannot be written is lost; data that
//! cannot be written is an error, except when the reader has closed the pipe, which ends the command without one.

use std::io::{BufRead, ErrorKind, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::exit::CliError;

/// Prints data to standard output, with a line break at the end.
///
/// # Errors
/// A full disk and the like. A closed pipe is the silent [`CliError::closed_pipe`].
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let break_after = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    write(|out| write!(out, "{text}{break_after}"))
}

/// Lets `with` write data to standard output, then flushes it.
///
/// # Errors
/// As [`print()`].
pub(crate) fn write(
    with: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    with(&mut out).and_then(|()| out.flush()).map_err(|error| write_error(error.into()))
}

/// Standard output for code that writes as it goes; its errors go through [`write_error`].
#[expect(clippy::disallowed_methods, reason = "the module that writes to it")]
pub(crate) fn stdout() -> std::io::Stdout {
    std::io::stdout()
}

/// The error of a command that could not write to standard output.
pub(crate) fn write_error(error: anyhow::Error) -> anyhow::Error {
    let closed = |cause: &std::io::Error| cause.kind() == ErrorKind::BrokenPipe;
    if error.chain().filter_map(|cause| cause.downcast_ref()).any(closed) {
        // Such as `| head`, which has read its lines.
        return CliError::closed_pipe();
    }
    error.context("cannot write to standard output")
}

/// Prints a message line to standard error; lost when it cannot be written.
#[expect(clippy::disallowed_methods, reason = "the module that writes to it")]
pub(crate) fn note(text: &str) {
    // One write, so that lines of several threads do not interleave.
    let _ = std::io::stderr().lock().write_all(format!("{text}\n").as_bytes());
}

/// Prints the error of one of many things, in one line.
pub(crate) fn report_error(what: &str, error: &anyhow::Error) {
    note(&format!("stateward: {what}: {}", error_line(error)));
}

/// Prints the error that ends the process: the failed action first, then its causes. A closed pipe prints nothing.
pub(crate) fn report_fatal(error: &anyhow::Error) {
    let line = error_line(error);
    if !line.is_empty() {
        note(&format!("stateward: {line}"));
    }
}

/// An error and its causes in one line.
pub(crate) fn error_line(error: &anyhow::Error) -> String {
    format!("{error:#}").replace('\n', " ")
}

/// Asks for confirmation; only `y` and `yes` confirm.
///
/// # Errors
/// A usage error without a terminal.
pub(crate) fn confirm(question: &str) -> anyhow::Result<bool> {
    #[expect(clippy::disallowed_methods, reason = "the module that writes to it")]
    let stderr = std::io::stderr();
    if !(std::io::stdin().is_terminal() && stderr.is_terminal()) {
        return Err(CliError::usage("nobody is there to be asked: say --yes if you mean it"));
    }
    Ok(prompt(question, &mut std::io::stdin().lock(), &mut stderr.lock())?)
}

fn prompt(question: &str, from: &mut impl BufRead, to: &mut impl Write) -> std::io::Result<bool> {
    write!(to, "{question} [y/N] ")?;
    to.flush()?;
    let mut answer = String::new();
    from.read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()))
}

/// A progress bar on standard error; not drawn when that is no terminal.
pub(crate) fn progress(what: &str, total: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    let template = "{msg} {wide_bar} {human_pos}/{human_len} {elapsed}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_is_one() {
        for (answer, expected) in [
            ("y\n", true),
            ("YES\n", true),
            ("\n", false),
            ("", false),
            ("yess\n", false),
            ("n\n", false),
        ] {
            let mut prompted = Vec::new();
            let meant =
                prompt("delete these 2 entities?", &mut answer.as_bytes(), &mut prompted).unwrap();
            assert_eq!(meant, expected, "{answer:?}");
            assert_eq!(prompted, b"delete these 2 entities? [y/N] ");
        }
    }
}
