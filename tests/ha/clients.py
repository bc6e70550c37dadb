"""Clients that change entities over random nodes, and the record of what was acknowledged to them."""

import collections
import random
import threading
import time
import uuid

import rest

COUNT = 32
# Entities of a client that are there at the same time.
THINGS_MAX = 6
# Average pause between two commands of a client: the machine has to do the work, too.
PAUSE_SECONDS = 1.5
# Without an answer by then, another node is tried with the same key.
REQUEST_SECONDS = 8


class Recorder:
    """What clients saw, with times of a steady clock. All methods may be called by any thread."""

    def __init__(self):
        self._lock = threading.Lock()
        self.acknowledged = []
        # Answers that no client may get: neither a success nor "later".
        self.refused = []
        self._times, self._seen, self._slowest = [], collections.Counter(), 0.0

    def saw(self, what):
        with self._lock:
            self._seen[what] += 1

    def acknowledge(self, command, began):
        now = time.monotonic()
        with self._lock:
            self.acknowledged.append(command)
            self._times.append(now)
            self._slowest = max(self._slowest, now - began)

    def refuse(self, command, status, body):
        with self._lock:
            self.refused.append((command, status, body))

    def window(self):
        """Begins a window: what clients see is counted from now on."""
        with self._lock:
            self._times, self._slowest = [time.monotonic()], 0.0
            self._seen.clear()

    def seen(self):
        """Of the window: the longest pause between two acknowledgements, the slowest command, and counts of answers."""
        with self._lock:
            times = [*self._times, time.monotonic()]
            pause = max(later - earlier for earlier, later in zip(times, times[1:]))
            return pause, self._slowest, dict(sorted(self._seen.items()))

    def acknowledged_in_window(self):
        with self._lock:
            return len(self._times) - 1


class Client(threading.Thread):
    """Changes its own entities, one command after the other, each repeated with its key until it is acknowledged."""

    def __init__(self, number, nodes, recorder, stop):
        super().__init__(daemon=True)
        self.number, self.nodes, self.recorder, self.stop = number, nodes, recorder, stop
        self.random = random.Random(number)
        # Name to (id, size), of those whose deletion was not asked for.
        self.things = {}
        self.deleted = {}
        self._created = 0

    def run(self):
        while not self.stop.is_set():
            self._command()
            self.stop.wait(self.random.uniform(0, 2 * PAUSE_SECONDS))

    def _command(self):
        choice = self.random.random()
        if not self.things or (choice < 0.35 and len(self.things) < THINGS_MAX):
            self._created += 1
            name, size = f"c{self.number}-{self._created}", 0
            body = {"kind": "fake.thing", "name": name, "backend": "sandbox", "desired": {"size": size, "label": name}}
            reply = self._send("POST", "/v1/entities", body, name)
            if reply:
                self.things[name] = (reply["entity"]["id"], size)
            return
        name = self.random.choice(list(self.things))
        entity, size = self.things[name]
        if choice < 0.75:
            body = {"desired": {"size": size + 1, "label": name}}
            if self._send("PUT", f"/v1/entities/{entity}", body, name):
                self.things[name] = (entity, size + 1)
        elif self._send("DELETE", f"/v1/entities/{entity}", None, name):
            self.deleted[name] = self.things.pop(name)[0]

    def _send(self, method, path, body, name):
        """Repeats a command until it is acknowledged; the reply, or `None` if it was refused."""
        headers, began = {"Idempotency-Key": str(uuid.uuid4())}, time.monotonic()
        while True:
            node = self.random.choice(self.nodes.all)
            try:
                reply = node.send(method, path, body, headers, REQUEST_SECONDS)
            except rest.Lost as lost:
                self.recorder.saw(str(lost))
                time.sleep(self.random.uniform(0.05, 0.3))
                continue
            self.recorder.saw(str(reply.status))
            if reply.status in (200, 201, 202):
                operation = reply.body["operation"]
                command = {
                    "method": method,
                    "name": name,
                    "entity": reply.body["entity"]["id"],
                    "operation": operation and operation["id"],
                    "position": reply.body["position"],
                }
                self.recorder.acknowledge(command, began)
                return reply.body
            if reply.status not in (429, 503):
                self.recorder.refuse((method, path, name), reply.status, reply.body)
                return None
            time.sleep(self.random.uniform(0.1, max(0.3, min(reply.retry_after, 1.0))))


class Reader(threading.Thread):
    """Follows the log over one node while faults happen: what it saw must be the log as it is in the end."""

    def __init__(self, node, stop):
        super().__init__(daemon=True)
        self.node, self.stop, self.seen, self.restarts = node, stop, [], 0

    def run(self):
        after = ""
        while not self.stop.is_set():
            try:
                reply = self.node.get(f"/v1/events?page_size=200{after}", seconds=REQUEST_SECONDS)
            except rest.Lost:
                self.stop.wait(0.3)
                continue
            if reply.status == 410:
                # Another epoch: what was read is not compared.
                self.seen, self.restarts, after = [], self.restarts + 1, ""
            elif reply.status == 200 and reply.body["items"]:
                self.seen += [(event["position"], event["id"]) for event in reply.body["items"]]
                after = f"&after={self.seen[-1][0]}"
            self.stop.wait(0.3)


class Load:
    """All clients, and one reader a node."""

    def __init__(self, nodes):
        self.recorder, self._stop, self._reading = Recorder(), threading.Event(), threading.Event()
        self.clients = [Client(number, nodes, self.recorder, self._stop) for number in range(COUNT)]
        self.readers = [Reader(node, self._reading) for node in nodes.all]

    def start(self):
        for thread in (*self.clients, *self.readers):
            thread.start()

    def stop(self, seconds=60):
        """Ends the clients after the command that each has begun; the names of those that got no answer."""
        self._stop.set()
        end = time.monotonic() + seconds
        for client in self.clients:
            client.join(max(0, end - time.monotonic()))
        return [client.number for client in self.clients if client.is_alive()]

    def stop_reading(self):
        self._reading.set()
        for reader in self.readers:
            reader.join()
