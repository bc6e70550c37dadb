"""Three Stateward nodes under a supervisor that starts each again when it ends, and the world that they manage."""

import os
import random
import shutil
import signal
import subprocess
import threading

import processes
import rest
from database import wait

TOKEN = "stw_shared-by-all-nodes"
# Short: a frozen node outlives several of them.
LEASE_SECONDS = 3
# Duration of each request to the world: long enough that a kill meets rounds in it.
LATENCY_MS = 150
# A supervisor's pause before it starts a node again.
RESTART_SECONDS = 0.5


class World:
    """`stateward fake-world`: it outlives the nodes and counts what they create."""

    def __init__(self, run, binary):
        self.port = processes.free_ports(1)[0]
        run.start([binary, "fake-world", "--listen", f"127.0.0.1:{self.port}"], run.folder, "world.log")
        wait("the world answers", self._answers)
        rest.send(self.port, "PUT", "/control", {"latency_ms": LATENCY_MS})

    def _answers(self):
        try:
            return rest.send(self.port, "GET", "/counts").status == 200
        except rest.Lost:
            return False

    def creates(self):
        """Creations by owner key."""
        return rest.send(self.port, "GET", "/counts").body["creates"]

    def things(self):
        found, cursor = [], None
        while True:
            page = rest.send(self.port, "POST", "/ask", {"list": {"cursor": cursor}}).body["things"]
            found += page["things"]
            cursor = page["cursor"]
            if cursor is None:
                return found


class Node:
    """A process of Stateward that is started again whenever it ends."""

    def __init__(self, run, number, binary, configuration):
        self.run, self.binary, self.name = run, binary, f"node{number}"
        self.port = processes.free_ports(1)[0]
        self.folder = run.folder / self.name
        self.folder.mkdir()
        (self.folder / "secret").write_text(TOKEN, encoding="utf-8")
        (self.folder / "stateward.toml").write_text(configuration, encoding="utf-8")
        # Ends that the run did not cause: the exit status, and the last line that was printed.
        self.exits = []
        self._environment = {}
        self._process, self._killed, self._stopping = None, False, threading.Event()
        self._lock = threading.Lock()
        threading.Thread(target=self._supervise, daemon=True).start()

    def _supervise(self):
        arguments = ["serve", "--config", "stateward.toml", "--data", "data", "--listen", f"127.0.0.1:{self.port}"]
        while not self._stopping.is_set():
            try:
                with self._lock:
                    command, environment = [self.binary, *arguments], self._environment
                    process = self.run.start(command, self.folder, f"{self.name}.log", environment=environment)
                    self._process, self._killed = process, False
            except processes.Closed:
                return
            status = process.wait()
            with self._lock:
                killed = self._killed
            if not killed and not self._stopping.is_set():
                self.exits.append((status, self._last_line()))
            self._stopping.wait(RESTART_SECONDS)

    def _last_line(self):
        lines = (self.run.folder / f"{self.name}.log").read_text(encoding="utf-8", errors="replace").splitlines()
        return lines[-1] if lines else ""

    def kill(self):
        with self._lock:
            self._killed = True
            self._process.send_signal(signal.SIGKILL)

    def replace(self, binary, environment, number):
        """Ends the process with a signal; the supervisor starts the other version in its place."""
        with self._lock:
            self.binary, self._environment, self._killed = binary, environment, True
            self._process.send_signal(number)

    def freeze(self):
        self._process.send_signal(signal.SIGSTOP)

    def wake(self):
        self._process.send_signal(signal.SIGCONT)

    def stop(self):
        """Lets it drain; it is not started again."""
        self._stopping.set()
        self._process.terminate()

    def get(self, path, seconds=60):
        return self.send("GET", path, seconds=seconds)

    def send(self, method, path, body=None, headers=None, seconds=rest.SECONDS):
        headers = {"Authorization": f"Bearer {TOKEN}", **(headers or {})}
        return rest.send(self.port, method, path, body, headers, seconds)

    def is_ready(self):
        try:
            return rest.send(self.port, "GET", "/readyz", seconds=3).status == 200
        except rest.Lost:
            return False


class Nodes:
    def __init__(self, run, database, binary):
        # A copy: the original may be built anew meanwhile.
        own = shutil.copy(binary, run.folder / "stateward")
        self._run, self._database = run, database
        database.execute("CREATE ROLE stateward LOGIN")
        database.execute("CREATE DATABASE stateward")
        self.migrate(own)
        self.world = World(run, own)
        configuration = (
            f'[server]\nadmin_token = {{ file = "secret" }}\n[store]\nurl = "{database.url("stateward")}"\n'
            f'[workers]\nlease = "{LEASE_SECONDS}s"\nlease_margin = "1s"\nsweep_interval = "5s"\n'
            f'[backends.sandbox]\ndriver = "fake"\nurl = "http://127.0.0.1:{self.world.port}"\n'
            'retry = { first = "100ms", max = "1s" }\n'
        )
        self.all = [Node(run, number + 1, own, configuration) for number in range(3)]

    def migrate(self, binary):
        """Brings the schema to that of the binary's version, while nodes run."""
        migrate = [binary, "migrate", "--url", self._database.url("postgres"), "--role", "stateward"]
        subprocess.run(migrate, check=True, cwd=self._run.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def are_ready(self):
        return all(node.is_ready() for node in self.all)

    def any(self):
        return random.choice(self.all)

    def stop(self):
        for node in self.all:
            node.stop()


def binary(target):
    """The binary under test: that of `STATEWARD_BIN`, else the one that was built."""
    return os.environ.get("STATEWARD_BIN") or target / "debug/stateward"
