//! Servers of several nodes: `STATEWARD_TEST_NODES` processes on one database with one configuration, where
//! `STATEWARD_TEST_STORE` is `postgres`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::process::Command;

use super::server::BINARY;

/// Nodes of each server.
pub(super) fn wanted() -> usize {
    match std::env::var("STATEWARD_TEST_NODES") {
        Err(_) => 1,
        Ok(nodes) => nodes.parse().expect("STATEWARD_TEST_NODES: a number"),
    }
}

/// The same command for one more node, on a free port.
pub(super) fn again(command: &Command) -> Command {
    let first = command.as_std();
    let mut other = Command::new(first.get_program());
    let listens = |argument: &&std::ffi::OsStr| argument.to_string_lossy().starts_with("--listen");
    other.args(first.get_args().filter(|argument| !listens(argument)));
    other.arg("--listen=127.0.0.1:0");
    for (name, value) in first.get_envs() {
        match value {
            Some(value) => other.env(name, value),
            None => other.env_remove(name),
        };
    }
    other.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    other
}

/// Writes the addresses of the nodes for the commands that run in `folder`.
pub(super) fn announce(folder: &Path, urls: &[String]) {
    std::fs::write(file(folder), urls.join("\n")).expect("written");
}

/// Puts the next node's address where a command in `folder` finds it, if a server of several nodes runs there.
pub(crate) fn next_of(folder: &Path) {
    static COMMANDS: AtomicUsize = AtomicUsize::new(0);
    let found = folder.join("data/server.url");
    let read = (std::fs::read_to_string(file(folder)), std::fs::read_to_string(&found));
    let (Ok(urls), Ok(present)) = read else { return };
    let urls: Vec<_> = urls.lines().collect();
    // An address that a test put there stays.
    if !urls.contains(&present.trim()) {
        return;
    }
    let number = COMMANDS.fetch_add(1, Ordering::Relaxed);
    // Renamed: a command that started before may read it.
    let beside = folder.join(format!("nodes.{number}"));
    std::fs::copy(&found, &beside).expect("copied, with its rights");
    std::fs::write(&beside, urls[number % urls.len()]).expect("written");
    std::fs::rename(&beside, &found).expect("renamed");
}

fn file(folder: &Path) -> PathBuf {
    folder.join("nodes")
}

/// A world for each backend of the sandbox that has none: the nodes share no memory.
pub(super) struct Worlds(Mutex<BTreeMap<String, OwnWorld>>);

struct OwnWorld {
    child: Child,
    url: String,
}

impl Drop for OwnWorld {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl OwnWorld {
    fn start() -> Self {
        let mut child = std::process::Command::new(BINARY)
            .args(["fake-world", "--listen", "127.0.0.1:0"])
            .env_remove("FAILPOINTS")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut url = String::new();
        let mut lines = BufReader::new(child.stdout.take().expect("piped"));
        lines.read_line(&mut url).expect("an address");
        Self { child, url: url.trim().to_owned() }
    }
}

impl Worlds {
    /// `None` = each server is one node.
    pub(super) fn wanted() -> Option<Self> {
        (wanted() > 1).then(|| Self(Mutex::default()))
    }

    /// `config`, in which each backend of the sandbox has a world; the backends that it does not name are the usual ones.
    pub(super) fn in_place_of_memory(&self, config: &str) -> String {
        let usual = "\n[backends.local]\ndriver = \"local\"\nroot = \"./data/managed\"\n\
            [backends.sandbox]\ndriver = \"fake\"\n";
        let usual = if config.contains("[backends.") { "" } else { usual };
        let mut written = String::new();
        for section in sections(&format!("{config}{usual}")) {
            written.push_str(&section);
            let name = section.strip_prefix("[backends.").and_then(|rest| rest.split(']').next());
            let is_fake = section.lines().any(|line| line == "driver = \"fake\"");
            let has_world = section.lines().any(|line| line.starts_with("url"));
            if let Some(name) = name.filter(|_| is_fake && !has_world) {
                let mut worlds = self.0.lock().expect("no panic");
                let world = worlds.entry(name.to_owned()).or_insert_with(OwnWorld::start);
                written.extend(["url = \"", world.url.as_str(), "\"\n"]);
            }
        }
        written
    }
}

/// The sections of a file, each with its head.
fn sections(config: &str) -> Vec<String> {
    let mut sections = vec![String::new()];
    for line in config.lines() {
        if line.starts_with('[') {
            sections.push(String::new());
        }
        let section = sections.last_mut().expect("one");
        section.push_str(line);
        section.push('\n');
    }
    sections
}
