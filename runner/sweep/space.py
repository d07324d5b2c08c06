"""Where a search looks, in the grammar of Hydra's command line: choice, range, interval, tag(log, ...)."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from runner.errors import ConfigError, shown, suggestion

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Value: TypeAlias = str | int | float
"""Of a parameter, as Optuna has it."""

_TAGS = ("log",)
_NO_VALUE = "there is no value in it"
_NOT_OF_RUNS = ("hydra", "run", "sweep")
"""Keys that say where runs stand and how they are launched; a config from elsewhere is to set none."""


@dataclass(frozen=True)
class Choice:
    """One of some values, of which none is nearer to another."""

    values: tuple[str, ...]
    """As they stand in an override."""

    def distribution(self) -> BaseDistribution:
        """What Optuna samples from."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)

    def text(self, value: Value) -> str:
        """The value in an override."""
        return str(value)


@dataclass(frozen=True)
class Range:
    """One of some numbers at equal distances, in their order."""

    values: tuple[int, ...] | tuple[float, ...]
    is_log: bool = False

    def distribution(self) -> BaseDistribution:
        """What Optuna samples from."""
        from optuna.distributions import FloatDistribution, IntDistribution

        low, high = self.values[0], self.values[-1]
        step = self.values[1] - low if len(self.values) > 1 else 1
        if isinstance(low, int) and isinstance(high, int):
            return IntDistribution(low, high, log=self.is_log, step=int(step))
        # Without what adding up left at the end, for which Optuna would drop the last number.
        low, high, step = (float(f"{one:.12g}") for one in (low, high, step))
        return FloatDistribution(low, high, step=step)

    def text(self, value: Value) -> str:
        """The value in an override: of fractions the exact one, as a sweep over the range has it."""
        return str(min(self.values, key=lambda one: abs(one - float(value))))


@dataclass(frozen=True)
class Interval:
    """Any number between two, both included; whole numbers if both are."""

    low: int | float
    high: int | float
    is_log: bool = False

    def distribution(self) -> BaseDistribution:
        """What Optuna samples from."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if isinstance(self.low, int) and isinstance(self.high, int):
            return IntDistribution(self.low, self.high, log=self.is_log)
        return FloatDistribution(self.low, self.high, log=self.is_log)

    def text(self, value: Value) -> str:
        """The value in an override, to the last digit."""
        return repr(value)


Dimension: TypeAlias = Choice | Range | Interval


@dataclass(frozen=True)
class Space:
    """What a trial is given: the same for all, and what is searched."""

    fixed: tuple[str, ...] = ()
    """Overrides."""
    dimensions: Mapping[str, Dimension] = field(default_factory=dict)
    """By key, as it stands in an override."""

    def distributions(self) -> dict[str, BaseDistribution]:
        """What Optuna samples from, by key."""
        return {key: one.distribution() for key, one in self.dimensions.items()}

    def overrides(self, params: Mapping[str, Any]) -> list[str]:
        """Those of the trial that has these parameters."""
        found = {key: one.text(params[key]) for key, one in self.dimensions.items()}
        return [*self.fixed, *(f"{key}={text}" for key, text in found.items())]


def read_space(
    given: Mapping[str, str], overrides: Sequence[str], *, parser: OverridesParser
) -> Space:
    """The space that ``sweep.space`` and the command line describe; the latter has the last word.

    Raises:
        ConfigError: with every problem that was found.
    """
    reader = _Reader(parser)
    for key, text in given.items():
        place = f"sweep.space.{key}={text}"
        if re.split(r"[./@]", key.lstrip("+~"))[0] in _NOT_OF_RUNS:
            reader.problems.append(f"{place}: is nothing to search; give it on the command line")
        else:
            reader.read(f"{key}={text}", shown=place)
    for override in overrides:
        reader.read(override, shown=override)
    if not reader.dimensions and not reader.problems:
        reader.problems.append(
            "sweep.space={}: nothing to search; give some key a choice or an interval"
        )
    if reader.problems:
        raise ConfigError(reader.problems)
    return Space(tuple(reader.fixed.values()), dict(reader.dimensions.values()))


def check_space(sweep: DictConfig) -> None:
    """Looks at what a config says of the space, its interpolations unresolved.

    Raises:
        ConfigError: there are some: what came of them would be read once more, as an override.
    """
    content: Any = OmegaConf.to_container(sweep)
    space = content.get("space")
    if "$" in str(space):
        fix = "takes no interpolation; give that on the command line"
        raise ConfigError(f"sweep.space={shown(space)}: {fix}")


def check_values(overrides: Sequence[Override]) -> None:
    """Raises: ConfigError: not all of them have values that can be gone through."""
    problems = []
    for one in overrides:
        if one.is_interval_sweep():
            reason = (
                "an interval is searched, with sweep=optuna; without it, give a range or a choice"
            )
            problems.append(f"{one.input_line}: {reason}")
        elif one.is_sweep_override() and not any(one.sweep_string_iterator()):
            problems.append(f"{one.input_line}: {_NO_VALUE}")
    if problems:
        raise ConfigError(problems)


@dataclass
class _Reader:
    """What is said of each key, the last word on it."""

    parser: OverridesParser
    fixed: dict[str, str] = field(default_factory=dict)
    dimensions: dict[str, tuple[str, Dimension]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def read(self, override: str, *, shown: str) -> None:
        try:
            parsed = _parsed(override, self.parser)
            name = parsed.key_or_group
            self.fixed.pop(name, None)
            self.dimensions.pop(name, None)
            if parsed.is_sweep_override():
                self.dimensions[name] = parsed.get_key_element(), _dimension(parsed)
            else:
                self.fixed[name] = override
        except ValueError as error:
            self.problems.append(f"{shown}: {error}")


def _parsed(line: str, parser: OverridesParser) -> Override:
    try:
        return parser.parse_override(line)
    except HydraException as error:
        raise ValueError(f"Hydra cannot read this ({str(error).splitlines()[0]})") from error


def _dimension(override: Override) -> Dimension:
    """Raises: ValueError: with what is wrong."""
    sweep: Any = override.value()
    is_log = _is_log(getattr(sweep, "tags", ()))
    if isinstance(sweep, IntervalSweep):
        return _interval(sweep, is_log=is_log)
    texts = tuple(dict.fromkeys(override.sweep_string_iterator()))
    if not texts:
        raise ValueError(_NO_VALUE)
    if override.is_range_sweep():
        return _range(tuple(override.sweep_iterator()), is_log=is_log)
    if is_log:
        raise ValueError("a choice has no scale; log is for interval and range")
    return Choice(texts)


def _range(numbers: Any, *, is_log: bool) -> Range:
    values = tuple(sorted(numbers))
    is_whole = isinstance(values[0], int) and values[-1] - values[0] == len(values) - 1
    if is_log and not (is_whole and values[0] > 0):
        raise ValueError("log is for whole numbers from 1 on in steps of 1, or for an interval")
    return Range(values, is_log)


def _interval(sweep: IntervalSweep, *, is_log: bool) -> Interval:
    low, high = sweep.start, sweep.end
    if low is None or high is None or not low < high:
        raise ValueError("the first number has to be the smaller one")
    if is_log and low <= 0:
        raise ValueError("log is for numbers above 0")
    return Interval(low, high, is_log)


def _is_log(tags: Sequence[str]) -> bool:
    unknown = next((tag for tag in sorted(tags) if tag not in _TAGS), None)
    if unknown is not None:
        raise ValueError(f"there is no tag {unknown}; {suggestion(unknown, _TAGS)}")
    return "log" in tags


def combinations(space: Space) -> Iterator[dict[str, Value]]:
    """Every one there is, the last dimension changing fastest.

    Raises:
        ConfigError: there is no end to the values of an interval.
    """
    for point in itertools.product(*_values(space)):
        yield dict(zip(space.dimensions, point, strict=True))


def num_combinations(space: Space) -> int:
    """How many there are.

    Raises:
        ConfigError: as for ``combinations``.
    """
    return math.prod(map(len, _values(space)))


def _values(space: Space) -> list[Sequence[Value]]:
    values: list[Sequence[Value]] = []
    for key, one in space.dimensions.items():
        if isinstance(one, Interval):
            raise ConfigError(f"{key}: a grid has no intervals (sweep.sampler=grid); give a choice")
        values.append(one.values)
    return values
