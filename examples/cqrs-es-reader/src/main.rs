//! `cqrs-es-reader [URL]`: one line for each entity in the log of the database at `URL`, or at `DATABASE_URL`. Exits 1
//! with one line that names the first fault.

use std::process::ExitCode;

use cqrs_es_reader::replay::{Fault, Log, keep_panics};

#[tokio::main]
async fn main() -> ExitCode {
    let url = std::env::args().nth(1).or_else(|| std::env::var("DATABASE_URL").ok());
    let Some(url) = url else {
        eprintln!("cqrs-es-reader: no URL: give one, or set DATABASE_URL");
        return ExitCode::FAILURE;
    };
    keep_panics();
    match print(&url).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("cqrs-es-reader: {fault}");
            ExitCode::FAILURE
        }
    }
}

async fn print(url: &str) -> Result<(), Fault> {
    let log = Log::open(url).await?;
    for (id, head) in log.heads().await? {
        let entity = log.replay(&id, head, |_| ()).await?;
        println!(
            "{id} {}/{}/{} {} generation {} of {} events",
            entity.namespace,
            entity.kind,
            entity.name,
            entity.state,
            entity.generation,
            entity.version
        );
    }
    Ok(())
}
