"""Which checkpoints stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from runner.checkpoint.manifest import Manifest
from runner.checkpoint.spec import Best, CheckpointSpec

_SECONDS_PER_HOUR = 3600


def best_of(manifests: Sequence[Manifest], best: Best) -> list[Manifest]:
    """The ``best.keep`` best of those that were evaluated, the best first, the older one of equals."""
    rated = [manifest for manifest in manifests if best.metric in manifest.metrics]
    sign = -1 if best.mode == "max" else 1
    return sorted(rated, key=lambda manifest: sign * manifest.metrics[best.metric])[: best.keep]


def retained(manifests: Sequence[Manifest], spec: CheckpointSpec) -> list[Manifest]:
    """Of a run's checkpoints, oldest first, those to keep.

    The best and the held ones do not count towards ``max_to_keep``. One that would go is held
    instead if ``keep_every_n_hours`` have passed since the last one held, or since the first save.
    """
    kept_apart = best_of(manifests, spec.best) if spec.best else []
    ordinary = [one for one in manifests if one not in kept_apart and not one.held]
    newest = ordinary if spec.max_to_keep is None else ordinary[-spec.max_to_keep :]
    kept: list[Manifest] = []
    held_at = manifests[0].saved_at if manifests else 0.0
    for one in manifests:
        if one.held:
            held_at = one.saved_at
        elif one not in newest and one not in kept_apart and _is_due(one, held_at, spec):
            one, held_at = replace(one, held=True), one.saved_at
        if one.held or one in newest or one in kept_apart:
            kept.append(one)
    return kept


def _is_due(one: Manifest, held_at: float, spec: CheckpointSpec) -> bool:
    hours = spec.keep_every_n_hours
    return hours is not None and one.saved_at - held_at >= hours * _SECONDS_PER_HOUR
