"""Tests of sweeps on clusters run with `make test-cluster` only."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.nodes import Cluster
from tests.cluster.ray import ray
from tests.cluster.slurm import slurm

_CLUSTERS = {"ray": ray, "slurm": slurm}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cluster", action="store_true", help="run the tests on clusters")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--cluster", default=False):
        return
    left_out = [item for item in items if item.get_closest_marker("cluster")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(params=list(_CLUSTERS))
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """One of two nodes, on this machine."""
    # Not in pytest's directory: its path is too long for sockets.
    place = tempfile.TemporaryDirectory(prefix="runner-", ignore_cleanup_errors=True)
    with place as name, _CLUSTERS[request.param](Path(name)) as up:
        yield up
