"""Which checkpoints stay: exact, and a function of the manifests alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from runner.checkpoint.manifest import Manifest
from runner.checkpoint.retention import best_of, retained, would_be_best
from runner.checkpoint.spec import Best, CheckpointSpec

Make = Callable[..., Manifest]
ACCURACY = "validation/accuracy"


def spec(**changes: Any) -> CheckpointSpec:
    return CheckpointSpec(directory="unused", **changes)


def numbers(manifests: Sequence[Manifest]) -> list[int]:
    return [one.number for one in manifests]


def simulated(made: Sequence[Manifest], given: CheckpointSpec) -> list[Manifest]:
    """What is there after every save has let go of what is not to be kept."""
    line: list[Manifest] = []
    for one in made:
        line = retained([*line, one], given)
    return line


def rated(manifest: Make, values: Sequence[float | None]) -> list[Manifest]:
    metrics = [{} if value is None else {ACCURACY: value} for value in values]
    return [manifest(number, metrics=one) for number, one in enumerate(metrics, start=1)]


@pytest.mark.parametrize(
    ("keep", "left"), [(1, [4]), (3, [2, 3, 4]), (9, [1, 2, 3, 4]), (None, [1, 2, 3, 4])]
)
def test_the_newest_stay(manifest: Make, keep: int | None, left: list[int]) -> None:
    made = [manifest(number) for number in range(1, 5)]
    assert numbers(retained(made, spec(max_to_keep=keep))) == left
    assert numbers(simulated(made, spec(max_to_keep=keep))) == left


def test_newest_means_last_saved_not_highest(manifest: Make) -> None:
    made = [manifest(number, order=order) for order, number in enumerate([100, 50, 10, 5])]
    assert numbers(retained(made, spec(max_to_keep=3))) == [50, 10, 5]


def test_nothing_stays_of_nothing() -> None:
    assert retained([], spec(keep_every_n_hours=1)) == []


@pytest.mark.parametrize(("mode", "left"), [("max", [2, 5, 6]), ("min", [4, 5, 6])])
def test_the_best_stays_beside_the_newest(manifest: Make, mode: Any, left: list[int]) -> None:
    made = rated(manifest, [0.5, 0.9, None, 0.1, 0.6, 0.7])
    given = spec(max_to_keep=2, best=Best(metric=ACCURACY, mode=mode))
    assert numbers(simulated(made, given)) == left


def test_the_best_does_not_count_even_while_it_is_new(manifest: Make) -> None:
    made = rated(manifest, [0.1, 0.2, 0.3, 0.4])
    given = spec(max_to_keep=2, best=Best(metric=ACCURACY))
    assert numbers(simulated(made, given)) == [2, 3, 4]


def test_several_best_are_kept(manifest: Make) -> None:
    made = rated(manifest, [0.5, 0.9, 0.8, 0.1, 0.2, 0.3])
    given = spec(max_to_keep=1, best=Best(metric=ACCURACY, keep=2))
    assert numbers(simulated(made, given)) == [2, 3, 6]
    assert numbers(best_of(made, given.best or pytest.fail())) == [2, 3]


def test_of_equals_the_older_one_is_best(manifest: Make) -> None:
    made = rated(manifest, [0.1, 0.7, 0.7, 0.7])
    best = Best(metric=ACCURACY)
    assert numbers(best_of(made, best)) == [2]
    assert numbers(simulated(made, spec(max_to_keep=1, best=best))) == [2, 4]
    assert not would_be_best(metrics(made), best, {ACCURACY: 0.7})
    assert would_be_best(metrics(made), best, {ACCURACY: 0.71})


def metrics(made: Sequence[Manifest]) -> list[dict[str, float]]:
    return [one.metrics for one in made]


def test_fewer_are_better_where_the_config_says_so(manifest: Make) -> None:
    best = Best(metric=ACCURACY, mode="min", keep=2)
    made = metrics(rated(manifest, [0.5, 0.1, 0.4]))
    assert would_be_best(made, best, {ACCURACY: 0.3})
    assert not would_be_best(made, best, {ACCURACY: 0.4})


def test_one_that_fills_the_ranks_would_be_best(manifest: Make) -> None:
    best = Best(metric=ACCURACY, keep=2)
    assert would_be_best(metrics(rated(manifest, [0.5])), best, {ACCURACY: 0.1})
    assert not would_be_best(metrics(rated(manifest, [0.5, 0.4])), best, {ACCURACY: 0.1})
    assert would_be_best(metrics(rated(manifest, [0.5, 0.4])), best, {ACCURACY: 0.45})
    assert not would_be_best(metrics(rated(manifest, [0.5])), best, {"validation/loss": 9.0})
    assert not would_be_best(metrics(rated(manifest, [0.5])), None, {ACCURACY: 0.9})


def test_one_is_held_for_every_so_many_hours(manifest: Make) -> None:
    """One save an hour, from hour 1; one to keep; one held for every 3 hours since the first."""
    made = [manifest(number) for number in range(1, 12)]
    left = simulated(made, spec(max_to_keep=1, keep_every_n_hours=3))
    assert numbers(left) == [4, 7, 10, 11]
    assert [one.held for one in left] == [True, True, True, False]


def test_held_ones_and_the_best_count_nowhere(manifest: Make) -> None:
    made = rated(manifest, [0.1, 0.9, 0.2, 0.2, 0.2, 0.2, 0.2])
    given = spec(max_to_keep=2, keep_every_n_hours=3, best=Best(metric=ACCURACY))
    assert numbers(simulated(made, given)) == [2, 4, 6, 7]


def test_the_hours_go_on_after_a_resume(manifest: Make) -> None:
    """What is held follows from the manifests, though the first of the run has long gone."""
    made = [manifest(number) for number in range(1, 12)]
    given = spec(max_to_keep=2, keep_every_n_hours=3)
    for stop in range(1, 11):
        resumed = retained(simulated(made[:stop], given), given)
        for one in made[stop:]:
            resumed = retained([*resumed, one], given)
        assert resumed == simulated(made, given)


def test_a_clock_that_is_set_back_holds_nothing(manifest: Make) -> None:
    made = [manifest(number, saved_at=-number * 3600.0) for number in range(1, 6)]
    assert numbers(simulated(made, spec(max_to_keep=2, keep_every_n_hours=1))) == [4, 5]


def test_an_unscheduled_one_stays_while_it_is_the_newest_and_counts_nowhere(
    manifest: Make,
) -> None:
    made = [manifest(number) for number in range(1, 4)]
    stopped = manifest(35, order=4, scheduled=False)
    given = spec(max_to_keep=2, keep_every_n_hours=1)
    line = simulated([*made, stopped], spec(max_to_keep=2))
    assert numbers(line) == [2, 3, 35]
    assert numbers(retained([*line, manifest(4)], spec(max_to_keep=2))) == [3, 4]
    assert stopped.name not in [one.name for one in retained([stopped, manifest(4)], given)]


def test_retention_is_settled(manifest: Make) -> None:
    """Asking again changes nothing."""
    made = rated(manifest, [0.3, 0.9, 0.1, 0.2, 0.5, 0.4, 0.6])
    given = spec(max_to_keep=2, keep_every_n_hours=2, best=Best(metric=ACCURACY))
    left = simulated(made, given)
    assert retained(left, given) == left
