"""What the chaos tests share: who runs them, and the table of what was tried."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from runner import run
from tests.chaos.scenarios import TINY
from tests.chaos.syscalls import is_supported
from tests.chaos.tally import Bounded, Tally
from tests.checkpoint.conftest import scratch as scratch  # a directory in memory
from tests.test_resume import outcome

_TALLY = Tally()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--chaos", action="store_true", help="run all chaos tests, for minutes")
    parser.addoption("--chaos-report", metavar="FILE", help="write the table of cases to FILE")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--chaos", default=False):
        return
    left_out = [item for item in items if item.get_closest_marker("chaos")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def tally() -> Tally:
    """Counts over the whole session."""
    return _TALLY


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a run of `TINY` comes to that nothing happens to; see `outcome`."""
    return outcome(run(*TINY, f"run.dir={tmp_path_factory.mktemp('uninterrupted')}/run"))


@pytest.fixture
def bounded(request: pytest.FixtureRequest) -> Bounded:
    """For tests that have more cases than a day has minutes."""
    is_chaos = request.config.getoption("--chaos", default=False)

    def chosen(cases: Sequence[Any], num: int) -> Sequence[Any]:
        step = len(cases) // num | 1  # An odd one meets every bit of a byte.
        return cases if is_chaos else cases[step // 2 :: step]

    return chosen


@pytest.fixture
def syscalls() -> None:
    """For tests that supervise system calls."""
    if not is_supported():
        pytest.skip("only Linux, on x86_64 or aarch64, hands system calls to another process")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["chaos"] = _TALLY.counts


class _Workers:
    """Takes over the counts of the processes of pytest-xdist, which alone has this hook."""

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        _TALLY.add(getattr(node, "workeroutput", {}).get("chaos", {}))


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Workers(), "chaos-workers")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if not _TALLY.counts:
        return
    terminalreporter.section("chaos")
    terminalreporter.write(_TALLY.table())
    report = config.getoption("--chaos-report", default=None)
    if report:
        Path(report).write_text(_TALLY.table())
