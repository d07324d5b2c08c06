"""The files that pin what is installed: environments that compute the same have the same versions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
LOCKS = ("requirements.lock", "requirements-cluster.lock", "requirements-build.lock")

DECIDE = {"hydra-core", "keras", "numpy", "omegaconf", "scikit-learn", "tensorflow"}
"""What decides about bits, as `run.json` has it."""
HELD_BACK = {"cloudpickle", "joblib"}
"""Ray's launcher wants the first one older, and so the second; they move work, and compute nothing."""


def pins(file: str) -> Iterator[tuple[str, str]]:
    """Every package with its version, and with where that is for if it is not for everywhere."""
    for line in (REPOSITORY / file).read_text().splitlines():
        if line and not line.startswith((" ", "#")):
            name, _, version = line.removesuffix(" \\").partition("==")
            yield name, version


@pytest.mark.parametrize("file", LOCKS[1:])
def test_what_two_locks_have_is_pinned_alike(file: str) -> None:
    one, other = set(pins(LOCKS[0])), set(pins(file))
    common = {name for name, _ in one} & {name for name, _ in other}
    assert len(common) > 5
    differing = {name for name, _ in one ^ other if name in common}
    assert differing <= HELD_BACK


@pytest.mark.parametrize("file", LOCKS[:2])
def test_what_decides_about_bits_is_pinned_once(file: str) -> None:
    names = [name for name, version in pins(file) if version]
    assert {name for name in DECIDE if names.count(name) == 1} == DECIDE
