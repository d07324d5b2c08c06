"""What the bits of a run could depend on besides its config, then and now."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from runner import numerics, provenance, worktree
from runner.config import Experiment
from runner.config.environment import settings_id, variables_beside_data
from runner.data import Data, digests, load
from runner.errors import shown
from runner.phases import Train
from runner.record import RunRecord
from runner.schedule import Every

_DIGITS = 10


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What there is now."""

    sources: dict[str, str]
    """SHA-256 by file of the code behind every target."""
    versions: dict[str, str]
    git: dict[str, Any]
    code: bytes | None
    """What no revision holds of it; see `runner.worktree`."""
    numerics: dict[str, Any]
    """As far as they are known before TensorFlow starts; what a run chose is taken for chosen again."""
    data: list[dict[str, str]]
    """Of what each part of the run was done with, hashes; see `runner.data.digests`."""

    def key(self, history: object) -> str:
        """Ten hexadecimal digits, the same for the same history of a run in the same surroundings.

        The revision is not in it: only of the code behind targets does it matter what it is.

        Args:
            history: JSON data.
        """
        content = [history, self.sources, self.versions, self.numerics, self.data]
        text = json.dumps(content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def surroundings(
    experiment: Experiment, record: RunRecord, *, data: Sequence[Data]
) -> Surroundings:
    """What there is now for a run to be done afresh.

    Args:
        experiment: what the run is by now.
        record: its run.json.
        data: of each of its parts, from one change of its config to the next.

    Raises:
        DataError, ConfigError: the data cannot be had, or do not fit.
    """
    then, sources = record.numerics, provenance.source_hashes(experiment)
    return Surroundings(
        sources=sources,
        code=_code_now(sources),
        versions=provenance.versions(),
        git=provenance.git(),
        numerics=numerics.describe(
            experiment.engine,
            compile=then.get("compile", "auto"),
            threads=then.get("threads", 0),
            devices=then.get("devices", []),
        ),
        data=_digests(data),
    )


def _digests(data: Sequence[Data]) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for number, one in enumerate(data):
        is_same = number > 0 and one == data[number - 1]
        found.append(found[-1] if is_same else digests(load(one)))
    return found


def _code_now(sources: Iterable[str]) -> bytes | None:
    try:
        return worktree.difference(sources, here=Path.cwd())
    except worktree.TooLarge as error:
        return str(error).encode()  # Like nothing that was kept.


def matters(
    experiment: Experiment,
    record: RunRecord,
    now: Surroundings,
    *,
    id: str,
    settings: Sequence[tuple[DictConfig, str | None]],
    code: bytes | None,
    data: Sequence[Mapping[str, str]],
) -> list[str]:
    """What is not as it was and could matter, in plain words; nothing if nothing could.

    Args:
        experiment: what the run is by now.
        record: its run.json.
        id: that its saved config has now.
        settings: of the config of each part, what the run kept, if anything.
        code: what the run kept of it that no revision held.
        data: what the run kept of the data of each part, if anything.
    """
    return [
        *_config(record, id, settings),
        *_code(record, now),
        *(_uncommitted(record, now) if code != now.code else []),
        *_differing(record.versions, now.versions),
        *_numerics(record, now),
        *_data(data, now),
        *_within(record),
        *_by_the_clock(experiment),
    ]


def _config(
    record: RunRecord, id: str, settings: Sequence[tuple[DictConfig, str | None]]
) -> Iterator[str]:
    others = [
        config for config, then in settings if then is not None and settings_id(config) != then
    ]
    names = sorted({name for config in others for name in variables_beside_data(config)})
    if names:
        told = ", ".join(names)
        yield f"the environment no longer gives what it did for {told}, or the config was edited"
    elif id != record.id and (others or settings[0][1] is None):
        yield f"the saved config is that of run {id} by now, was {record.id}: it was edited"


def _code(record: RunRecord, now: Surroundings) -> Iterator[str]:
    then, here = record.git, now.git
    if then.get("revision") != here.get("revision"):
        yield f"revision is {_revision(here)}, was {_revision(then)}"
    for name in sorted({**record.sources, **now.sources}):
        before, after = record.sources.get(name), now.sources.get(name)
        if before != after:
            kind = "has changed" if before and after else "is gone" if before else "is new"
            yield f"code behind the config: {name} {kind}"


def _uncommitted(record: RunRecord, now: Surroundings) -> Iterator[str]:
    then, here = record.git, now.git
    if dirty := then.get("dirty"):
        kept = then.get("diff")
        where = f"kept in {kept}" if kept == "code.diff" else kept or "not kept"
        yield f"differed from the revision then: {', '.join(dirty)} ({where})"
    if dirty := here.get("dirty"):
        yield f"differs from the revision now: {', '.join(dirty)}"


def _revision(git: Mapping[str, Any]) -> str:
    return str(git.get("revision", "none"))[:_DIGITS]


def _differing(then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    for name in {**then, **now}:
        if then.get(name) != now.get(name):
            yield f"{name} is {shown(now.get(name))}, was {shown(then.get(name))}"


def _numerics(record: RunRecord, now: Surroundings) -> list[str]:
    """Without versions, which are told anyway."""
    then, here = ({**one, "versions": {}} for one in (record.numerics, now.numerics))
    return numerics.differences(then, here) if record.numerics else []


def _data(then: Sequence[Mapping[str, str]], now: Surroundings) -> list[str]:
    pairs = [(before, after) for before, after in zip(then, now.data, strict=True) if before]
    told = [numerics.differences({"data": before}, {"data": after}) for before, after in pairs]
    return list(dict.fromkeys(line for lines in told for line in lines))


def _within(record: RunRecord) -> Iterator[str]:
    """What changed from one sitting of the run to the next; only what a resume changed is repeated."""
    for sitting in record.sittings:
        since = f"the run itself, from step {sitting.from_step or 0:,}"
        if sitting.changed_sources:
            yield f"{since}: other code in {', '.join(sitting.changed_sources)}"
        for reason in sitting.not_identical:
            yield f"{since}: {reason}"


def _by_the_clock(experiment: Experiment) -> Iterator[str]:
    rhythms: dict[str, Every] = {
        "checkpoint.every": experiment.checkpoint.every,
        "tracking.log_every": experiment.tracking.log_every,
    }
    for name, phase in experiment.phases.items():
        if isinstance(phase, Train) and phase.evaluate:
            rhythms[f"phases.{name}.evaluate.every"] = phase.evaluate.every
    for key, rhythm in rhythms.items():
        if rhythm.seconds is not None:
            yield f"{key}.seconds={shown(rhythm.seconds)}: the clock says when, and it says otherwise"
