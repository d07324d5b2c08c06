"""A Ray cluster of two nodes with one processor each, on this machine."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.cluster.nodes import Cluster, free_ports, start, wait_for


@contextmanager
def ray(place: Path) -> Iterator[Cluster]:
    """Up when the block begins; nothing of it is left when it ends."""
    port, clients = free_ports(2)
    address = f"127.0.0.2:{port}"
    environment = {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    head = (
        *("--head", f"--port={port}", f"--ray-client-server-port={clients}"),
        *("--node-ip-address=127.0.0.2", "--include-dashboard=false", f"--temp-dir={place}/ray"),
    )
    other = (f"--address={address}", "--node-ip-address=127.0.0.3")
    nodes = {}
    with ExitStack() as stack:
        for name, options in {"one": head, "two": other}.items():
            command = (Path(sys.executable).with_name("ray"), "start", "--block", "--num-cpus=1")
            mark = f"RUNNER_TEST_NODE={place}/{name}"
            log = place / f"{name}.out"
            node = start((*command, *options), mark=mark, log=log, environment=environment)
            stack.callback(node.kill)
            wait_for(lambda log=log: "Ray runtime started" in log.read_text(), while_lives=node)
            nodes[name] = node
        # As it is found where nothing is said of an address.
        yield Cluster("ray", nodes, {**environment, "RAY_ADDRESS": address})
