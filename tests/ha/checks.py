"""What must hold in the end. Each check returns the violations that it found, a line each."""

import time

import rest
from database import wait

PAGE = 1000
# Violations that are printed.
SHOWN_MAX = 10
FINAL = ("ok", "erred")


class Pages:
    """Everything that a node lists at a path, read page by page."""

    def __init__(self, node):
        self.node = node

    def all(self, path):
        items, token = [], ""
        while True:
            reply = self.node.get(f"{path}?page_size={PAGE}{token}")
            if reply.status != 200:
                raise rest.Lost(f"{path}: {reply.status} {reply.body}")
            items += reply.body["items"]
            if not reply.body["next_page_token"]:
                return items
            token = f"&page_token={reply.body['next_page_token']}"


def holding(entity):
    """The conditions of an entity that hold, with their reasons."""
    return [f"{each['type']}: {each['reason']}" for each in entity["conditions"] if each["status"] is True]


def settled(nodes, seconds=120):
    """Waits until every entity and operation has ended; what has not."""
    pages, stuck = Pages(nodes.all[0]), []

    def all_ended():
        nonlocal stuck
        try:
            entities, operations = pages.all("/v1/entities"), pages.all("/v1/operations")
        except rest.Lost as lost:
            stuck = [str(lost)]
            return False
        stuck = [f"stuck: {each['name']} is {each['state']} {holding(each)}" for each in entities if each["state"] not in FINAL]
        stuck += [f"stuck: operation {each['id']} is {each['state']}" for each in operations if not each["done"]]
        return not stuck

    try:
        wait("everything has settled", all_ended, seconds)
    except TimeoutError:
        return stuck
    return []


def lost(nodes, load, events):
    """Acknowledged commands that the log does not have, and entities that are not as the last of them wants."""
    found = []
    operations = {event["operation_id"] for event in events}
    positions = {event["position"] for event in events}
    for command in load.recorder.acknowledged:
        if command["operation"] and command["operation"] not in operations:
            found.append(f"lost: {command} is not in the log")
        elif command["position"] not in positions:
            found.append(f"lost: the position of {command} is not in the log")
    entities = {each["name"]: each for each in Pages(nodes.all[1]).all("/v1/entities")}
    for client in load.clients:
        for name, (entity, size) in client.things.items():
            shown = entities.pop(name, None)
            if shown is None or shown["id"] != entity:
                found.append(f"lost: {name} was acknowledged and is not there")
            elif shown["desired"]["size"] != size:
                found.append(f"lost: {name} should have size {size}: {shown['desired']}")
            elif shown["state"] != "ok":
                found.append(f"wrong end: {name} is {shown['state']}: {shown.get('error')}")
        found += [f"lost: the deletion of {name}" for name in client.deleted if name in entities]
        for name in client.deleted:
            entities.pop(name, None)
    return found + [f"there is {name}, whose creation no client knows as done" for name in entities]


def wrong_ends(nodes, load):
    """Operations that ended otherwise than with success, unless a later command took their place."""
    last = {command["entity"]: command["operation"] for command in load.recorder.acknowledged if command["operation"]}
    ends = {each["id"]: each for each in Pages(nodes.all[2]).all("/v1/operations")}
    found = []
    for command in load.recorder.acknowledged:
        if not command["operation"]:
            continue
        end = ends.get(command["operation"])
        state = end and end["state"]
        replaced = state in ("superseded", "cancelled") and last[command["entity"]] != command["operation"]
        if state != "succeeded" and not replaced:
            found.append(f"wrong end: {command} is {state}: {end and end['error']}")
    return found


def world(nodes, load):
    """Objects that were made twice, and objects that are not those of the entities."""
    found = [f"made {count} times: {key}" for key, count in nodes.world.creates().items() if count > 1]
    wanted = {name: size for client in load.clients for name, (_, size) in client.things.items()}
    for thing in nodes.world.things():
        name, size = thing["attributes"]["label"], thing["attributes"]["size"]
        if name not in wanted:
            found.append(f"left over in the world, or there twice: {name}")
        elif wanted.pop(name) != size:
            found.append(f"not as desired in the world: {name} has size {size}")
    return found + [f"missing in the world: {name}" for name in wanted]


def one_order(logs, load):
    """Every event once, in the same order on all nodes, and as readers saw it while faults happened."""
    found = []
    length = min(len(events) for events in logs)
    orders = [[(event["position"], event["id"]) for event in events[:length]] for events in logs]
    for number, order in enumerate(orders):
        if order != orders[0]:
            found.append(f"node {number + 1} shows another order than node 1")
        if len({position for position, _ in order}) != length or len({event for _, event in order}) != length:
            found.append(f"node {number + 1} shows an event or a position twice")
    for number, reader in enumerate(load.readers):
        seen = reader.seen[:length]
        if seen != orders[0][: len(seen)]:
            at = next(index for index, pair in enumerate(seen) if pair != orders[0][index])
            found.append(f"the reader on node {number + 1} saw {seen[at]} where the log has {orders[0][at]}")
        if not seen:
            found.append(f"the reader on node {number + 1} saw nothing")
    return found


def versions(events):
    """Streams whose versions are not 1, 2, 3 and so on in log order."""
    heads, found = {}, []
    for event in events:
        expected = heads.get(event["stream"], 0) + 1
        if event["version"] != expected:
            found.append(f"{event['stream']} has version {event['version']} where {expected} follows")
        heads[event["stream"]] = event["version"]
    return found


def audit(node):
    report = node.send("POST", "/v1/audit/verify", {}, seconds=300)
    if report.status == 200 and report.body["ok"]:
        return []
    return [f"audit verify: {report.status} {report.body}"]


def all_of(nodes, load):
    """Ends the load, waits until everything has settled, and checks it; the violations, and the events of the log."""
    found = [f"client {number} got no answer" for number in load.stop()]
    found += [f"refused: {each}" for each in load.recorder.refused]
    found += settled(nodes)
    load.stop_reading()
    logs = [Pages(node).all("/v1/events") for node in nodes.all]
    found += one_order(logs, load) + versions(logs[0]) + lost(nodes, load, logs[0]) + wrong_ends(nodes, load)
    found += world(nodes, load) + audit(nodes.any())
    return found, logs[0]


def projections(node):
    """Projections that stopped."""
    reply = node.get("/v1/projections")
    if reply.status != 200:
        return [f"{node.name}: projections: {reply.status} {reply.body}"]
    return [f"{node.name}: a projection stopped: {each}" for each in reply.body["items"] if each["stopped"] or each["quarantined"]]


def verdict(violations, began):
    """Prints what was broken; the exit status."""
    for line in violations[:SHOWN_MAX]:
        print(f"VIOLATION {line}")
    print(f"{len(violations)} violations, {time.monotonic() - began:.0f} s")
    return int(bool(violations))
