"""What a run that has begun can no longer take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from runner.config.schema import Experiment
from runner.phases import Train
from runner.schedule import Epochs

Place: TypeAlias = tuple[str, ...]
"""The names of the keys that lead to a value."""

_OTHER_RUN = "start another run with it"
_MOVE = "move the whole run directory instead, and give its new place as RUN"

_FIXED: Mapping[Place, str] = {
    ("name",): f"the run stands in a folder of its old name; {_MOVE}",
    ("run", "dir"): f"the run stands where RUN says; {_MOVE}",
    ("run", "fresh"): "resume goes on with what is there; give it to the first command instead",
    ("checkpoint", "directory"): f"the run's checkpoints would not be found there; {_MOVE}",
    ("checkpoint", "keys"): f"the run's checkpoints have the old ones; {_OTHER_RUN}",
    ("checkpoint", "restore"): (
        "the run has begun, and goes on from its own newest checkpoint; start another run from that one"
    ),
    ("checkpoint", "partial"): (
        "the run has begun, and goes on from its own newest checkpoint; give it to another run that "
        "starts from one of this run's, with checkpoint.restore=PATH"
    ),
    ("seed",): f"the order of the examples so far came of the old one; {_OTHER_RUN}",
    ("model", "_target_"): f"the run's checkpoints hold the weights of the old one; {_OTHER_RUN}",
    ("optimizer", "_target_"): f"the run's checkpoints hold the slots of the old one; {_OTHER_RUN}",
    ("engine", "dtype_policy"): f"the run's state was made under the old one; {_OTHER_RUN}",
}
"""By place, why neither it nor anything below it can change, and what to do instead."""


@dataclass(frozen=True, kw_only=True)
class Reached:
    """How far a run got, as its newest checkpoint tells."""

    step: int = 0
    epoch: float = 0.0
    done: Sequence[str] = ()
    """The phases that are over."""
    phase: str | None = None
    """The one at work."""
    phase_start: int = 0
    """The step at which it began."""
    stopped: str | None = None
    """Why a callback ended it before its limit."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A run so far, and what it is to be from now on."""

    before: Experiment
    after: Experiment
    reached: Reached


def obstacle(case: Case, place: Place) -> str | None:
    """Why the run cannot take the change at ``place``, and what to do instead; None if it can."""
    for fixed, reason in _FIXED.items():
        if place[: len(fixed)] == fixed:
            return reason
    return _phase_obstacle(case, place) or _limit_obstacle(case, place)


def _phase_obstacle(case: Case, place: Place) -> str | None:
    """Phases that are over stay as they were, and the one at work stays behind them."""
    if place[0] != "phases":
        return None
    reached, before, after = case.reached, list(case.before.phases), list(case.after.phases)
    begun = [name for name in before if name in reached.done or name == reached.phase]
    is_in_order = after[: len(begun)] == begun
    if len(place) == 1:
        names = " and ".join(begun)
        return None if is_in_order else f"{names} have begun; leave them in front, in their order"
    name = place[1]
    if name in reached.done:
        return f"phase {name} is over; leave it as it was, or start another run"
    if name in begun and (name not in after or place[2:] == ("_target_",)):
        return f"phase {name} has begun; leave it in its place, or start another run"
    if name not in before and not is_in_order and name in after[: len(begun)]:
        return f"it would stand in front of {begun[-1]}, which has begun; put it behind"
    return None


def _limit_obstacle(case: Case, place: Place) -> str | None:
    """The phase at work cannot end before the step it is at."""
    reached, name = case.reached, str(case.reached.phase)
    limits = _limits(case, case.after)
    if place not in limits:
        return None
    if reached.stopped and place[0] == "phases" and case.before.callbacks == case.after.callbacks:
        fix = "change or drop the callback that ended it as well"
        return f"phase {name} ended at step {reached.step:,}: {reached.stopped}; {fix}"
    limit, step = limits[place], reached.step - reached.phase_start
    ended = step in _limits(case, case.before).values()
    # What is due at the end of a phase is done in the step that ends it, and that one is past.
    if limit is None or limit > step or (limit == step and ended):
        return None
    return (
        f"phase {name} would end at its step {limit:,}, and is at {step:,} already; "
        f"give more, or {_OTHER_RUN}"
    )


def _limits(case: Case, experiment: Experiment) -> dict[Place, int | None]:
    """By place, the step of the phase at work at which it ends; None for no limit or an unknown one."""
    name = str(case.reached.phase)
    phase = experiment.phases.get(name)
    if not isinstance(phase, Train):
        return {}
    epochs, count = _epochs(case, experiment), phase.until.epochs
    end = count and (epochs.end(count) if epochs else None)
    return {
        ("phases", name, "until", "steps"): phase.until.steps,
        ("phases", name, "until", "epochs"): end,
        ("data", "batch_size"): end,
        ("engine", "limit_steps"): experiment.engine.limit_steps,
    }


def _epochs(case: Case, experiment: Experiment) -> Epochs | None:
    """The epochs of the phase at work; None if only a look at the data can tell.

    How many examples there are follows from the checkpoint, as long as they stay the same.
    """
    reached, before = case.reached, case.before
    own, old = experiment.phases[str(reached.phase)], before.phases[str(reached.phase)]
    same_data = replace(experiment.data, batch_size=before.data.batch_size) == before.data
    if not (reached.epoch and same_data and [*own.splits()][:1] == [*old.splits()][:1]):
        return None
    num_examples = round(reached.step * before.data.batch_size / reached.epoch)
    return Epochs(num_examples, experiment.data.batch_size)
