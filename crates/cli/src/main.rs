//! The binary `stateward`: the server and its command line.
//!
//! - `server`: the configuration, and `wiring`, the only place that assembles store, drivers, engine and REST interface
//! - `bench`: measures a server from outside
//! - `commands`: a file for each verb; `verb_context` is what a verb runs with, `exit` its exit codes
//! - `select`: the entities that a verb acts on; `manifests` and `field_arguments`: what it declares
//! - `client`: requests to the server; `change`: sends changes of one or many entities, and waits for them
//! - `presentation`: forms of output, how each type of resource is printed, and the terminal
//!
//! **Architecture invariant:** the command line knows the REST interface and nothing else of the server: no type of
//! the domain or the engine is in what it sends, reads or shows.

mod argument_error;
mod bench;
mod change;
mod client;
mod clock;
mod commands;
mod exit;
mod field_arguments;
mod input_file;
mod json_text;
mod manifests;
mod output_file;
mod presentation;
mod random;
mod select;
mod server;
mod verb_context;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Control plane for managed entities.
#[derive(Parser)]
#[command(name = "stateward", version, about, max_term_width = 100, help_template = commands::HELP)]
struct Arguments {
    #[command(subcommand)]
    command: commands::Command,
}

fn main() -> ExitCode {
    without_huge_pages();
    let _crash_points = fail::FailScenario::setup();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return not_run(&error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    match runtime.block_on(arguments.command.run(Arguments::command)) {
        Ok(exit) => exit.into(),
        Err(error) => failed(&error),
    }
}

/// Keeps memory in pages of 4 KiB. The allocator asks for huge pages, and each thread's first small object would occupy
/// a whole one: that was 43 of the 56 MB of an idle server.
#[cfg(target_os = "linux")]
fn without_huge_pages() {
    // Fails on kernels without huge pages, where nothing has to be disabled.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

#[cfg(not(target_os = "linux"))]
const fn without_huge_pages() {}

/// Prints what was asked for instead of a command (help, version), or why the arguments make no sense.
fn not_run(error: &clap::Error) -> ExitCode {
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        presentation::terminal::note(error.render().to_string().trim_end());
        return exit::Exit::Usage.into();
    }
    if error.use_stderr() {
        return failed(&argument_error::in_one_line(&error.render().to_string()));
    }
    let colored = anstream::AutoStream::choice(&presentation::terminal::stdout())
        != anstream::ColorChoice::Never;
    let text = error.render();
    let text = if colored { text.ansi().to_string() } else { text.to_string() };
    match presentation::terminal::print(text.trim_end()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

/// Prints the error that ends the process.
fn failed(error: &anyhow::Error) -> ExitCode {
    presentation::terminal::report_fatal(error);
    client::exit_of(error).into()
}
