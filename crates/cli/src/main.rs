//! The binary `stateward`: the server and its command line.
//!
//! `commands` has a file for each verb; `config` reads the configuration; `wiring` is the only place that puts
//! store, drivers, engine and interface together; `client` talks to a server;
//! `bench` measures one.

mod banner;
mod bench;
mod client;
mod clock;
mod commands;
mod config;
mod manifests;
mod telemetry;
mod token;
mod wiring;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Control plane for managed entities.
#[derive(Parser)]
#[command(version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: commands::Command,
}

fn main() -> ExitCode {
    let _crash_points = fail::FailScenario::setup();
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    match runtime.block_on(arguments.command.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

/// One clear line: what failed, and why, from the outside in.
#[expect(clippy::print_stderr, reason = "the last word of a command goes to the terminal")]
fn failed(error: &anyhow::Error) -> ExitCode {
    let line = format!("{error:#}").replace('\n', " ");
    eprintln!("stateward: {line}");
    ExitCode::FAILURE
}
