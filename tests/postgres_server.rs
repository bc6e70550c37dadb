//! PostgreSQL for tests: found, started without root's rights, shared by all tests of a checkout, and ended when the last
//! of them ended or died.
//!
//! The binaries are in `STATEWARD_TEST_POSTGRES_BIN`, where `pg_config` says, in Debian's folder, or in `PATH`.
//!
//! Every test process holds a shared lock on the file `users` of a cluster's folder. A guardian, which is no child of a
//! test, waits for the exclusive one: then it ends the server by its id and deletes the folder.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How PostgreSQL is installed where it is missing.
pub(crate) const MISSING: &str = "PostgreSQL is missing: apt-get install postgresql";
/// Superuser of every cluster.
pub(crate) const SUPERUSER: &str = "postgres";

/// A running server.
pub(crate) struct Server {
    /// Folder of the socket, the data and the locks.
    pub(crate) folder: PathBuf,
    port: u16,
    /// Folder of its programs.
    pub(crate) binaries: PathBuf,
    /// Held shared until the process ends.
    _users: File,
    /// Ends after this process.
    _guardian: Option<Child>,
}

impl Server {
    /// The server of this checkout; `None` where PostgreSQL is not installed.
    pub(crate) fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Server>> = OnceLock::new();
        let start = || {
            // Another version is another server.
            let binaries = installed()?;
            let checkout = env!("CARGO_TARGET_TMPDIR").bytes();
            let version = binaries.as_os_str().as_encoded_bytes().iter().copied();
            let hash = checkout.chain(version).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
            let name = format!("stateward-pg-{}-{hash:016x}", own_uid());
            Some(Self::start(&std::env::temp_dir().join(name), &binaries, "shared"))
        };
        SHARED.get_or_init(start).as_ref()
    }

    /// A server of its own, which a test may stop; `None` where PostgreSQL is not installed.
    pub(crate) fn private() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("stateward-pg-{}-{}-{number}", own_uid(), std::process::id());
        Some(Self::start(&std::env::temp_dir().join(name), &installed()?, "private"))
    }

    /// URL of the database for the superuser.
    pub(crate) fn url(&self, database: &str) -> String {
        self.url_of(SUPERUSER, database)
    }

    /// URL of the database for a role.
    pub(crate) fn url_of(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}@{}/{database}", self.address())
    }

    /// The host part of its URL.
    pub(crate) fn address(&self) -> String {
        format!("{}:{}", self.folder.display().to_string().replace('/', "%2F"), self.port)
    }

    /// Runs a statement as the superuser, with the command-line client.
    pub(crate) fn execute(&self, database: &str, statement: &str) {
        let mut client = Command::new(self.binaries.join("psql"));
        client.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", SUPERUSER, "-h"]).arg(&self.folder);
        client.args(["-p", &self.port.to_string(), "-d", database, "-c", statement]);
        run(client.stdin(Stdio::null()));
    }

    /// Runs `pg_ctl` with these arguments, and waits for its end.
    pub(crate) fn control(&self, arguments: &[&str]) {
        let mut command = as_user(&self.binaries.join("pg_ctl"));
        command.arg("-D").arg(self.folder.join("data")).args(arguments).arg("-w");
        run(command.arg("-l").arg(self.folder.join("data/restarts.log")));
    }

    fn start(folder: &Path, binaries: &Path, kind: &str) -> Self {
        // A folder with this name that another user made is not used.
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o755).create(folder);
        made.expect("a folder for PostgreSQL");
        let owner = std::fs::metadata(folder).expect("the folder").uid();
        assert_eq!(owner, own_uid(), "{} is another user's", folder.display());
        let starting = lock_file(&folder.join("starting"));
        starting.lock().expect("a lock");
        let users = lock_file(&folder.join("users"));
        // Waits while the guardian of an earlier server ends it.
        users.lock_shared().expect("a lock");
        let ready = folder.join("ready");
        let port: Option<u16> =
            std::fs::read_to_string(&ready).ok().and_then(|port| port.trim().parse().ok());
        let server = |port, guardian| Self {
            folder: folder.to_owned(),
            port,
            binaries: binaries.to_owned(),
            _users: users,
            _guardian: guardian,
        };
        let socket = |port| folder.join(format!(".s.PGSQL.{port}"));
        // A mark without a server is of a machine that was restarted.
        if let Some(port) = port.filter(|port| UnixStream::connect(socket(*port)).is_ok()) {
            return server(port, None);
        }
        // The port only names the socket: nothing listens on the network.
        let port = 5_432;
        let _ = std::fs::remove_dir_all(folder.join("data"));
        initialise(folder, binaries);
        let log = File::create(folder.join("log")).expect("the server's log");
        let pid = as_user(&binaries.join("postgres"))
            .arg("-D")
            .arg(folder.join("data"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log"))
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("postgres")
            .id();
        let guardian = guard(folder, pid, kind);
        wait_until_ready(folder);
        std::fs::write(ready, port.to_string()).expect("the mark");
        server(port, Some(guardian))
    }
}

/// Makes the data folder, writable by the server's user alone.
fn initialise(folder: &Path, binaries: &Path) {
    let data = folder.join("data");
    std::fs::create_dir(&data).expect("the data folder");
    if own_uid() == 0 {
        run(Command::new("chown").arg(user()).arg(&data));
        // The socket is beside the data.
        run(Command::new("chgrp").arg(group()).arg(folder));
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o775)).expect("rights");
    }
    let mut initdb = as_user(&binaries.join("initdb"));
    initdb.args(["-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]);
    run(initdb.arg("-D").arg(&data));
    let settings = format!(
        "listen_addresses = ''\nunix_socket_directories = '{}'\nport = 5432\nmax_connections = 300\n\
         shared_buffers = 64MB\nfsync = off\nmax_prepared_transactions = 10\nwal_writer_delay = 10s\nautovacuum = off\n",
        folder.display()
    );
    let file = data.join("stateward.conf");
    std::fs::write(&file, settings).expect("settings");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("rights");
    let main = OpenOptions::new().append(true).open(data.join("postgresql.conf"));
    let include =
        |mut main: File| std::io::Write::write_all(&mut main, b"include 'stateward.conf'\n");
    main.and_then(include).expect("settings");
}

/// Starts the process that ends the server when no test uses it. It waits three seconds for the next test.
fn guard(folder: &Path, pid: u32, kind: &str) -> Child {
    let script = r#"
        cd "$1" || exit 1
        while true; do
            flock -x users true
            sleep 3
            exec 9>>users
            flock -n -x 9 && break
            exec 9>&-
        done
        for pid in $(head -qn 1 data/postmaster.pid saved/postmaster.pid 2>/dev/null) "$2"; do
            grep -q -e "$1/data" -e "$1/saved" "/proc/$pid/cmdline" 2>/dev/null || continue
            kill -QUIT "$pid"
            while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
        done
        rm -rf data saved ready log .s.PGSQL.*
        # Lock files of a shared folder stay: another process may wait for them.
        if [ "$3" = private ]; then rm -rf "$1"; fi
    "#;
    let mut guardian = Command::new("setsid");
    guardian.args(["sh", "-c", script, "guardian"]).arg(folder).args([&pid.to_string(), kind]);
    guardian.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    guardian.spawn().expect("setsid")
}

fn wait_until_ready(folder: &Path) {
    let deadline = Instant::now() + Duration::from_mins(2);
    let state = || std::fs::read_to_string(folder.join("data/postmaster.pid")).unwrap_or_default();
    // The last line of the file, padded.
    while state().lines().last().map(str::trim) != Some("ready") {
        let log = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
        assert!(Instant::now() < deadline, "PostgreSQL did not start: {}", log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn lock_file(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).expect("a lock file")
}

/// The folder with `initdb` and `postgres`.
fn installed() -> Option<PathBuf> {
    let named = std::env::var_os("STATEWARD_TEST_POSTGRES_BIN").map(PathBuf::from);
    let asked = || {
        let output = Command::new("pg_config").arg("--bindir").output().ok()?;
        Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
    };
    let debian = || {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        let folders = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
        folders.filter(|folder| complete(folder)).max()
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = || std::env::split_paths(&path).find(|folder| complete(folder));
    named
        .or_else(|| asked().filter(|folder| complete(folder)))
        .or_else(debian)
        .or_else(in_path)
        .filter(|folder| complete(folder))
}

fn complete(folder: &Path) -> bool {
    ["initdb", "postgres", "pg_ctl"].iter().all(|name| folder.join(name).exists())
}

fn own_uid() -> u32 {
    std::fs::metadata("/proc/self").map_or(0, |own| own.uid())
}

/// The user that runs the server when the tests run as root, which PostgreSQL refuses.
fn user() -> &'static str {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    if users.lines().any(|line| line.starts_with("postgres:")) { "postgres" } else { "nobody" }
}

fn group() -> String {
    let output = Command::new("id").args(["-gn", user()]).output().expect("id");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A command of the user that runs the server.
pub(crate) fn as_user(program: &Path) -> Command {
    if own_uid() != 0 {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    // The folder of the tests may be closed to that user.
    command.current_dir("/");
    command.args(["--reuid", user(), "--regid", &group(), "--clear-groups"]).arg(program);
    command
}

pub(crate) fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}");
}
