//! `stateward serve` as a process, or as several nodes of one database.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::{join_all, select_all};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use super::database::Database;
use super::nodes::{self, Worlds};
use super::{Client, WAIT_MAX};

pub(super) const BINARY: &str = env!("CARGO_BIN_EXE_stateward");

/// A folder with a configuration and the data of one server, which may be started several times in it.
pub(crate) struct Setup {
    pub(crate) folder: TempDir,
    /// `None` = the embedded store.
    database: Option<Arc<Database>>,
    /// Worlds of the backends without one, where a server has several nodes; `None` = one node, whose memory is the world.
    worlds: Option<Worlds>,
    /// The first administrator's token; `None` = of the file in the data directory.
    token: Option<String>,
}

impl Setup {
    /// A folder whose configuration file holds `config`.
    pub(crate) fn new(config: &str) -> Self {
        Self::on(Database::wanted().map(Arc::new), config)
    }

    /// As [`new`](Self::new), with the embedded store whatever the tests run on.
    pub(crate) fn embedded(config: &str) -> Self {
        Self::on(None, config)
    }

    fn on(database: Option<Arc<Database>>, config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let worlds = database.is_some().then(Worlds::wanted).flatten();
        let setup = Self { folder, database, worlds, token: None };
        setup.configure(config);
        setup
    }

    /// Whether the store is one that several processes may share.
    pub(crate) fn is_shared(&self) -> bool {
        self.database.is_some()
    }

    /// A folder of one more node of `database`, whose configuration file holds `config`; `token`: the configured first
    /// administrator's, `None` = of a file.
    pub(crate) fn sharing(database: &Arc<Database>, config: &str, token: Option<&str>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (database, token) = (Some(Arc::clone(database)), token.map(str::to_owned));
        let setup = Self { folder, database, worlds: None, token };
        setup.configure(config);
        setup
    }

    /// Rewrites the configuration; a running server keeps the one that it read.
    pub(crate) fn configure(&self, config: &str) {
        let store = self.database.as_deref().map(Database::section).unwrap_or_default();
        let config = match &self.worlds {
            Some(worlds) => worlds.in_place_of_memory(config),
            None => config.to_owned(),
        };
        std::fs::write(self.config(), format!("{config}{store}")).expect("written");
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("stateward.toml")
    }

    /// Backends `local` and `sandbox`, the latter in the world at `url`; all times are short.
    pub(crate) fn with_world(url: &str) -> Self {
        Self::new(&format!(
            "[workers]\nlease = \"1s\"\nlease_margin = \"300ms\"\nsweep_interval = \"200ms\"\n\
             [backends.local]\ndriver = \"local\"\nroot = \"./managed\"\ndrift_interval = \"1s\"\n\
             retry = {{ first = \"50ms\", max = \"500ms\" }}\n\
             [backends.sandbox]\ndriver = \"fake\"\nurl = \"{url}\"\n\
             retry = {{ first = \"50ms\", max = \"500ms\" }}\n"
        ))
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Root of the backend `local`.
    pub(crate) fn managed(&self) -> PathBuf {
        self.folder.path().join("managed")
    }

    /// Starts a server, which must become ready.
    pub(crate) async fn start(&self) -> Server {
        self.start_with("").await.expect("ready")
    }

    /// Starts a server with these crash points, in each of its nodes. The error is the output of a node that dies before
    /// it is ready.
    pub(crate) async fn start_with(&self, crash_points: &str) -> Result<Server, String> {
        let mut command = self.command();
        command.env("FAILPOINTS", crash_points);
        self.run(command).await
    }

    /// Starts a server whose data are elsewhere.
    pub(crate) async fn start_in(&self, data: &Path) -> Server {
        self.run_in(self.command_in(data), data).await.expect("ready")
    }

    /// Runs `command` until it is ready, as often as a server has nodes. The error is the output of a node that ends before.
    pub(crate) async fn run(&self, command: Command) -> Result<Server, String> {
        self.run_in(command, &self.data()).await
    }

    async fn run_in(&self, command: Command, data: &Path) -> Result<Server, String> {
        let count = if self.worlds.is_some() { nodes::wanted() } else { 1 };
        let others: Vec<_> = (1..count).map(|_| nodes::again(&command)).collect();
        let token = self.token.clone().ok_or_else(|| data.join("admin.token"));
        let mut server = Server::with_token(command, token).await?;
        for node in join_all(others.into_iter().map(Node::start)).await {
            server.nodes.push(node?);
        }
        self.announce(&mut server);
        Ok(server)
    }

    /// Starts each node of `server` that is dead, without crash points.
    pub(crate) async fn revive(&self, server: &mut Server) {
        for node in &mut server.nodes {
            if node.child.try_wait().expect("a child").is_some() {
                *node = Node::start(self.command()).await.expect("ready");
            }
        }
        self.announce(server);
    }

    /// Lets the client, and commands in this folder, go round the nodes.
    fn announce(&self, server: &mut Server) {
        let urls: Vec<_> = server.nodes.iter().map(|node| node.url.clone()).collect();
        if urls.len() > 1 {
            nodes::announce(self.folder.path(), &urls);
        }
        server.client.goes_round(urls);
    }

    /// The command line that starts a server here.
    pub(crate) fn command(&self) -> Command {
        self.command_in(&self.data())
    }

    /// With data elsewhere.
    pub(crate) fn command_in(&self, data: &Path) -> Command {
        self.serve(data, Some("127.0.0.1:0"))
    }

    /// Listening on `address`; `None` = as configured.
    pub(crate) fn command_on(&self, address: Option<&str>) -> Command {
        self.serve(&self.data(), address)
    }

    fn serve(&self, data: &Path, listen: Option<&str>) -> Command {
        let mut command = Command::new(BINARY);
        command.arg("serve").arg("--config").arg(self.config());
        command.arg("--data").arg(data).env("RUST_LOG", "info").env_remove("FAILPOINTS");
        command.args(listen.map(|address| format!("--listen={address}")));
        // The variables of the tests must not configure the server.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("STATEWARD_TEST_") {
                command.env_remove(name);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        command
    }
}

/// A server that became ready.
pub(crate) struct Server {
    /// One, or as many as `STATEWARD_TEST_NODES` wants.
    nodes: Vec<Node>,
    pub(crate) client: Client,
}

/// A process that became ready.
struct Node {
    child: Child,
    said: Arc<Mutex<String>>,
    url: String,
}

impl Node {
    /// Runs `command` until it is ready. The error is its output.
    async fn start(mut command: Command) -> Result<Self, String> {
        let mut child = command.spawn().expect("the binary starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let ready = tokio::time::timeout(WAIT_MAX, ready(&mut lines)).await;
        let url = ready.map_err(|_| "not ready in time".to_owned())??;
        let said = Arc::new(Mutex::new(String::new()));
        tokio::spawn(keep(lines, Arc::clone(&said)));
        Ok(Self { child, said, url })
    }

    fn pid(&self) -> rustix::process::Pid {
        let id = self.child.id().expect("running");
        rustix::process::Pid::from_raw(id.cast_signed()).expect("not zero")
    }
}

impl Server {
    /// Runs `command` until it is ready, as one node, with the token or the file that will hold it. The error is its output.
    pub(crate) async fn with_token(
        command: Command,
        token: Result<String, PathBuf>,
    ) -> Result<Self, String> {
        let node = Node::start(command).await?;
        let token = token.unwrap_or_else(|file| std::fs::read_to_string(file).expect("a token"));
        let client = Client::new(&node.url, token.trim());
        Ok(Self { nodes: vec![node], client })
    }

    /// The output of its nodes since they were ready.
    pub(crate) fn said(&self) -> String {
        let of = |node: &Node| node.said.lock().expect("no panic").clone();
        self.nodes.iter().map(of).collect()
    }

    /// The first node's.
    pub(crate) fn pid(&self) -> rustix::process::Pid {
        self.nodes[0].pid()
    }

    /// Sends a signal to every node.
    pub(crate) fn signal(&self, signal: Signal) {
        for node in &self.nodes {
            rustix::process::kill_process(node.pid(), signal).expect("sent");
        }
    }

    /// `kill -9` of every node.
    pub(crate) async fn kill_now(&mut self) {
        for node in &mut self.nodes {
            node.child.start_kill().expect("killed");
        }
        for node in &mut self.nodes {
            node.child.wait().await.expect("killed");
        }
    }

    /// `kill -9` of each node in turn and then of all of them; of the only one at each turn.
    pub(crate) async fn kill_in_turn(&mut self, turn: usize) {
        let index = turn % (self.nodes.len() + 1);
        match self.nodes.get_mut(index) {
            Some(node) => node.child.kill().await.expect("killed"),
            None => self.kill_now().await,
        }
    }

    /// Whether a node has exited.
    pub(crate) fn is_dead(&mut self) -> bool {
        self.nodes.iter_mut().any(|node| node.child.try_wait().expect("a child").is_some())
    }

    /// Waits until a node exits.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let all = self.nodes.iter_mut().map(|node| Box::pin(node.child.wait()));
        let ended = tokio::time::timeout(WAIT_MAX, select_all(all)).await;
        ended.expect("it ends").0.expect("a child")
    }

    /// Sends SIGTERM, and waits for the end of every node within the promised ten seconds. Returns the first failure.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        let ends = join_all(self.nodes.iter_mut().map(|node| node.child.wait()));
        let ends = tokio::time::timeout(Duration::from_secs(10), ends).await;
        let ends: Vec<_> = ends.expect("drained in 10 s").into_iter().map(Result::unwrap).collect();
        *ends.iter().find(|end| !end.success()).unwrap_or(&ends[0])
    }
}

/// The address in the line that reports readiness. The error is the output when the process ends before.
async fn ready(lines: &mut Lines<BufReader<ChildStderr>>) -> Result<String, String> {
    let mut said = String::new();
    while let Some(line) = lines.next_line().await.expect("text") {
        if let Some((_, rest)) = line.split_once("ready url=\"") {
            return Ok(rest.trim_end_matches('"').to_owned());
        }
        said.push_str(&line);
        said.push('\n');
    }
    Err(said)
}

async fn keep(mut lines: Lines<BufReader<ChildStderr>>, said: Arc<Mutex<String>>) {
    while let Ok(Some(line)) = lines.next_line().await {
        let mut said = said.lock().expect("no panic");
        said.push_str(&line);
        said.push('\n');
    }
}

/// Runs `command`, which must not start; returns its exit code and its lines.
pub(crate) async fn refused(mut command: Command) -> (Option<i32>, Vec<String>) {
    let output = tokio::time::timeout(WAIT_MAX, command.output()).await;
    let output = output.expect("it ends").expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said.lines().map(str::to_owned).collect())
}
