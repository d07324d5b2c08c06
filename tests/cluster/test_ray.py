"""What is made of Ray's answers, without a cluster."""

from __future__ import annotations

from typing import Any

import pytest

from runner.sweep import on_ray
from runner.sweep.cluster import CANCELLED

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]


def test_a_trial_that_was_cancelled_and_could_not_tell_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import ray

    def get(handle: Any) -> Any:
        raise ray.exceptions.TaskCancelledError

    monkeypatch.setattr(ray, "get", get)
    handle: Any = object()
    assert on_ray._over(handle).lost == CANCELLED
