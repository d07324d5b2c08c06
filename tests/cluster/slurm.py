"""A Slurm of two nodes with one processor each, on this machine, as root and without accounting."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.cluster.nodes import Cluster, Node, free_ports, start, wait_for

_CONF = """\
ClusterName=runner
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={place}/munge.socket,cred_expire=5
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/%n.pid
SlurmctldLogFile={place}/slurmctld.log
SlurmdLogFile={place}/%n.log
SlurmdSpoolDir={place}/%n
StateSaveLocation={place}/state
SlurmdTimeout=5
ReturnToService=2
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
_NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1 State=UNKNOWN\n"


@contextmanager
def slurm(place: Path) -> Iterator[Cluster]:
    """Up when the block begins; nothing of it is left when it ends."""
    control, *ports = free_ports(3)
    # What Slurm starts on a node has its name, by which it is found; no other cluster has the same.
    names = {name: f"{name}{port}" for name, port in zip(("one", "two"), ports, strict=True)}
    host, conf = socket.gethostname(), place / "slurm.conf"
    (place / "state").mkdir()
    with conf.open("w") as file:
        file.write(_CONF.format(host=host, port=control, place=place))
        for name, port in zip(names.values(), ports, strict=True):
            file.write(_NODE.format(host=host, port=port, name=name))
    environment = {**os.environ, "SLURM_CONF": str(conf)}
    with ExitStack() as stack:

        def daemon(*command: str, mark: str = f"RUNNER_TEST_NODE={place}") -> Node:
            log = place / f"{command[0]}.out"
            node = start(command, mark=mark, log=log, environment=environment)
            stack.callback(node.kill)
            return node

        munged = daemon(*_munged(place))
        wait_for((place / "munge.socket").exists, while_lives=munged)
        daemon("slurmctld", "-D")
        nodes = {
            short: daemon("slurmd", "-D", "-N", name, mark=f"SLURMD_NODENAME={name}")
            for short, name in names.items()
        }
        wait_for(lambda: _states(environment) == {"idle"}, while_lives=nodes["one"])
        yield Cluster("submitit_slurm", nodes, environment)


def ask(cluster: Cluster, *command: str) -> str:
    """What one of Slurm's own commands prints."""
    return _ask(cluster.environment, *command)


def _ask(environment: Mapping[str, str], *command: str) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    return done.stdout


def _states(environment: Mapping[str, str]) -> set[str]:
    return set(_ask(environment, "sinfo", "--noheader", "--Node", "--format=%T").split())


def _munged(place: Path) -> list[str]:
    """The command of a munged of its own, with a key of its own."""
    key = place / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    files = ("key-file", "socket", "pid-file", "log-file", "seed-file")
    own = [f"--{file}={place}/munge.{file.removesuffix('-file')}" for file in files]
    return ["munged", "--foreground", "--force", *own]
