"""Which checkpoints stay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from runner.checkpoint.manifest import Manifest
from runner.checkpoint.spec import Best, CheckpointSpec

_SECONDS_PER_HOUR = 3600


def best_of(manifests: Sequence[Manifest], best: Best) -> list[Manifest]:
    """The ``best.keep`` best of those that were evaluated, the best first, the older one of equals."""
    rated = [manifest for manifest in manifests if best.metric in manifest.metrics]
    sign = -1 if best.mode == "max" else 1
    return sorted(rated, key=lambda manifest: sign * manifest.metrics[best.metric])[: best.keep]


def would_be_best(
    others: Iterable[Mapping[str, float]], best: Best | None, metrics: Mapping[str, float]
) -> bool:
    """Whether one more checkpoint, with these metrics, would be among the best.

    Args:
        others: the metrics of the checkpoints that are there.
    """
    if best is None or best.metric not in metrics:
        return False
    rated = sorted(
        (one[best.metric] for one in others if best.metric in one), reverse=best.mode == "max"
    )
    return len(rated) < best.keep or best.better(metrics[best.metric], than=rated[best.keep - 1])


def retained(manifests: Sequence[Manifest], spec: CheckpointSpec) -> list[Manifest]:
    """Of a run's checkpoints, oldest first, those to keep.

    The best and the held ones do not count towards ``max_to_keep``. One that would go is held
    instead if ``keep_every_n_hours`` have passed since the last one held, or since the first save.
    One that was not scheduled stays while it is the newest, and counts nowhere.
    """
    best = {one.name for one in best_of(manifests, spec.best)} if spec.best else set()
    ordinary = [one.name for one in manifests if one.name not in best and _counts(one)]
    newest = ordinary if spec.max_to_keep is None else ordinary[-spec.max_to_keep :]
    stay = best.union(newest, (one.name for one in manifests[-1:]))
    kept: list[Manifest] = []
    held_at = manifests[0].begun_at if manifests else 0.0
    for one in manifests:
        if one.name not in stay and _counts(one):
            one = replace(one, held=_is_due(one, held_at, spec))
        if one.held:
            held_at = one.saved_at
        if one.held or one.name in stay:
            kept.append(one)
    return kept


def _counts(one: Manifest) -> bool:
    return one.scheduled and not one.held


def _is_due(one: Manifest, held_at: float, spec: CheckpointSpec) -> bool:
    hours = spec.keep_every_n_hours
    return hours is not None and one.saved_at - held_at >= hours * _SECONDS_PER_HOUR
