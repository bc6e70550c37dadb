"""Three etcd members, and three database nodes (Patroni and PostgreSQL) with one synchronous standby."""

import glob
import json
import os
import shutil
import signal
import subprocess
import time

import processes
import rest

INSTALL = "apt-get install --no-install-recommends postgresql patroni python3-etcd etcd-server"
SCOPE = "stateward"
# The longest failover: the leader's key has to end first.
TTL = 20
SETTINGS = {
    "ttl": TTL,
    "loop_wait": 2,
    "retry_timeout": 8,
    "synchronous_mode": True,
    "synchronous_mode_strict": True,
    "maximum_lag_on_failover": 1048576,
    "postgresql": {
        "use_pg_rewind": True,
        "use_slots": True,
        "parameters": {
            "max_connections": 100,
            "shared_buffers": "16MB",
            "wal_keep_size": "128MB",
            "max_wal_size": "256MB",
            "wal_sender_timeout": "6s",
            "wal_receiver_timeout": "6s",
            "autovacuum_max_workers": 1,
            "max_parallel_workers": 0,
        },
    },
}
ACCESS = ["local all all trust", "host all all 127.0.0.1/32 trust", "host replication all 127.0.0.1/32 trust"]


def binaries():
    """The folder of PostgreSQL's programs; `None` where something is missing."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"))
    complete = found and all(shutil.which(name) for name in ("patroni", "etcd", "setpriv"))
    # Patroni only recommends its client of etcd, and says nothing of it before it starts.
    client = ["/usr/bin/python3", "-c", "import etcd"]
    if not complete or subprocess.run(client, stderr=subprocess.DEVNULL).returncode != 0:
        return None
    return os.path.dirname(found[-1])


class Etcd:
    """A member of the consensus store."""

    def __init__(self, run, number, client, peer):
        self.run, self.name, self.client, self.peer = run, f"etcd{number}", client, peer
        self.folder = run.subfolder(self.name)

    def start(self, members):
        peers = ",".join(f"{each.name}=http://127.0.0.1:{each.peer}" for each in members)
        own, client = f"http://127.0.0.1:{self.peer}", f"http://127.0.0.1:{self.client}"
        arguments = ["etcd", "--name", self.name, "--data-dir", self.folder / "data"]
        arguments += ["--listen-peer-urls", own, "--initial-advertise-peer-urls", own, "--initial-cluster", peers]
        arguments += ["--listen-client-urls", client, "--advertise-client-urls", client]
        # A busy machine is slow, not dead.
        arguments += ["--heartbeat-interval", "300", "--election-timeout", "3000"]
        self.run.start(arguments, self.folder, f"{self.name}.log", as_user=True)

    def is_healthy(self):
        try:
            return rest.send(self.client, "GET", "/health", seconds=2).status == 200
        except rest.Lost:
            return False


class DatabaseNode:
    """PostgreSQL and the Patroni that manages it."""

    def __init__(self, run, number, patroni, sql, api):
        self.run, self.name, self.patroni, self.sql, self.api = run, f"db{number}", patroni, sql, api
        self.folder = run.subfolder(self.name)

    def configure(self, etcd, programs):
        configuration = {
            "scope": SCOPE,
            "name": self.name,
            "restapi": {"listen": f"127.0.0.1:{self.api}", "connect_address": f"127.0.0.1:{self.api}"},
            "etcd3": {"hosts": [f"127.0.0.1:{each.client}" for each in etcd]},
            "bootstrap": {"dcs": SETTINGS, "initdb": [{"encoding": "UTF8"}, {"locale": "C"}, "data-checksums"], "pg_hba": ACCESS},
            "postgresql": {
                "listen": f"127.0.0.1:{self.sql}",
                "connect_address": f"127.0.0.1:{self.sql}",
                "data_dir": str(self.folder / "data"),
                "bin_dir": programs,
                "pgpass": str(self.folder / "pgpass"),
                "pg_hba": ACCESS,
                "parameters": {"unix_socket_directories": str(self.folder)},
                "authentication": {
                    "superuser": {"username": "postgres"},
                    "replication": {"username": "replicator", "password": "unused"},
                },
                "remove_data_directory_on_rewind_failure": True,
                "remove_data_directory_on_diverged_timelines": True,
            },
            "watchdog": {"mode": "off"},
        }
        # JSON is YAML.
        file = self.folder / "patroni.yml"
        file.write_text(json.dumps(configuration), encoding="utf-8")
        file.chmod(0o644)

    def start(self):
        command = [*self.patroni.command, self.folder / "patroni.yml"]
        self.run.start(command, self.folder, f"{self.name}.log", as_user=True, environment=self.patroni.environment)

    def kill_postmaster(self):
        postmaster = int((self.folder / "data/postmaster.pid").read_text(encoding="utf-8").split()[0])
        processes.send(signal.SIGKILL, [postmaster])

    def view(self):
        """How this node sees the cluster; `None` without an answer."""
        try:
            reply = rest.send(self.api, "GET", "/cluster", seconds=2)
        except rest.Lost:
            return None
        return reply.body.get("members") if reply.status == 200 else None


class Database:
    def __init__(self, run, programs, patroni):
        ports = processes.free_ports(12)
        self.programs = programs
        self.etcd = [Etcd(run, number + 1, *ports[2 * number : 2 * number + 2]) for number in range(3)]
        self.nodes = [DatabaseNode(run, number + 1, patroni, *ports[6 + 2 * number : 8 + 2 * number]) for number in range(3)]

    def start(self):
        for member in self.etcd:
            member.start(self.etcd)
        wait("etcd is there", lambda: all(member.is_healthy() for member in self.etcd))
        for node in self.nodes:
            node.configure(self.etcd, self.programs)
            node.start()
        wait("the database has a primary and a synchronous standby", self.is_healthy, seconds=120)

    def primary(self):
        """The primary, once there is one."""
        found = []
        wait("there is a primary", lambda: found.append(self.leader()) or found[-1])
        return found[-1]

    def leader(self):
        """The node that others take for the primary; `None` while there is none."""
        for node in self.nodes:
            leaders = [each["name"] for each in node.view() or [] if each["role"] == "leader"]
            if leaders:
                return next(node for node in self.nodes if node.name == leaders[0])
        return None

    def is_healthy(self):
        """Whether all three nodes run, one of them as the primary's synchronous standby, and all etcd members answer."""
        for node in self.nodes:
            members = node.view()
            roles = [each["role"] for each in members or [] if each["state"] in ("running", "streaming")]
            timelines = {each.get("timeline") for each in members or []}
            if sorted(roles) != ["leader", "replica", "sync_standby"] or len(timelines) > 1:
                return False
        return all(member.is_healthy() for member in self.etcd)

    def execute(self, statement, database="postgres"):
        """Runs a statement on the primary as the superuser."""
        arguments = [f"{self.programs}/psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.primary().sql)]
        subprocess.run([*arguments, "-U", "postgres", "-d", database, "-c", statement], check=True, stdin=subprocess.DEVNULL)

    def url(self, role):
        hosts = ",".join(f"127.0.0.1:{node.sql}" for node in self.nodes)
        return f"postgres://{role}@{hosts}/stateward"

    def switch_over(self):
        """Asks the primary's Patroni to hand over to the synchronous standby. Raises when it refuses."""
        leader = self.primary()
        reply = rest.send(leader.api, "POST", "/switchover", {"leader": leader.name}, seconds=60)
        if reply.status != 200:
            raise RuntimeError(f"Patroni refused the switchover: {reply.status} {reply.body}")


def wait(what, holds, seconds=90):
    """Polls until `holds()`; raises `TimeoutError` after `seconds`."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(0.2)
