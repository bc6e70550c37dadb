"""The faults: each begins, lasts, and ends; then the run waits until everything is whole again."""

import time

import processes
from database import wait
from nodes import LEASE_SECONDS

# A dead etcd member, and a dead database node once another one is the primary.
DOWN_SECONDS = 5


def kill_postmaster(run):
    """`kill -9` of the primary's postmaster; Patroni decides what follows."""
    run.database.primary().kill_postmaster()
    # Patroni has to notice before anything is whole again.
    time.sleep(3)


def kill_database_node(run):
    """The primary's machine dies: PostgreSQL and Patroni at once. It comes back once another one is the primary."""
    leader = run.database.primary()
    processes.kill(leader.folder)
    wait("another node is the primary", lambda: run.database.leader() not in (None, leader))
    time.sleep(DOWN_SECONDS)
    leader.start()


def kill_etcd_member(run):
    member = run.database.etcd[run.round % len(run.database.etcd)]
    processes.kill(member.folder)
    time.sleep(DOWN_SECONDS)
    member.start(run.database.etcd)


def freeze_primary(run):
    """The primary and its Patroni stop, and wake up after another node was promoted."""
    leader = run.database.primary()
    processes.freeze(leader.folder)
    try:
        wait("another node is the primary", lambda: run.database.leader() not in (None, leader))
        time.sleep(DOWN_SECONDS)
    finally:
        processes.wake(leader.folder)
    time.sleep(3)


def switch_over(run):
    leader = run.database.primary()
    run.database.switch_over()
    wait("another node is the primary", lambda: run.database.leader() not in (None, leader))


def kill_node(run):
    """`kill -9` of a Stateward node with rounds in flight."""
    run.nodes.all[run.round % len(run.nodes.all)].kill()
    time.sleep(2)


def freeze_node(run):
    """A Stateward node stops for three leases, and wakes up after others took its work over."""
    node = run.nodes.all[(run.round + 1) % len(run.nodes.all)]
    node.freeze()
    time.sleep(3 * LEASE_SECONDS)
    node.wake()


QUICK = {
    "a Stateward node killed in mid-sync": kill_node,
    "a Stateward node frozen and woken": freeze_node,
    "switchover": switch_over,
}
ALL = {
    "the primary's postmaster killed": kill_postmaster,
    "a whole database node killed": kill_database_node,
    "an etcd member killed": kill_etcd_member,
    "the primary frozen with its Patroni": freeze_primary,
    **QUICK,
}
