"""Plain data to typed objects: strictly, with every problem told by its full key."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from runner.allowances import allowing
from runner.callbacks import Callback
from runner.config.typed import convert
from runner.errors import ConfigError, Invalid
from runner.targets import Target

Write = Callable[[dict[str, str]], None]


@dataclass(frozen=True, kw_only=True)
class Inner:
    """A part with a check of its own."""

    size: int
    rate: float = 0.5

    def __post_init__(self) -> None:
        if self.size < 1:
            raise Invalid("size", self.size, "give a count of at least 1")
        if self.size == 13:
            raise ValueError("that brings bad luck")


@dataclass(frozen=True, kw_only=True)
class Base(ABC):
    """Only classes made from it can be built."""

    width: int = 1

    @abstractmethod
    def act(self) -> None:
        """Nothing."""


@dataclass(frozen=True, kw_only=True)
class Outer:
    """One of everything."""

    name: str
    inner: Inner = field(default_factory=lambda: Inner(size=1))
    numbers: list[int] = field(default_factory=list)
    parts: dict[str, Inner] = field(default_factory=dict)
    mode: Literal["max", "min"] = "max"
    bases: dict[str, Base] = field(default_factory=dict)
    computed: int = field(default=0, init=False)


@pytest.fixture(autouse=True)
def allowed() -> Iterator[None]:
    """What the tests below define is the user's own."""
    own = [f"own_callbacks.{name}" for name in ("Own", "Unreadable", "function")]
    with allowing([*own, "broken_callbacks.Own", *map("own_model.{}".format, _MODELS)]):
        yield


def refusal(kind: Any, value: object, key: str = "a.b") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        convert(kind, value, key)
    return caught.value.problems


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (int, 3, 3),
        (float, 3, 3.0),
        (float, 1e-3, 0.001),
        (bool, False, False),
        (str, "", ""),
        (type(None), None, None),
        (Any, {"a": [1, None]}, {"a": [1, None]}),
        (object, None, None),
        (int | None, None, None),
        (int | None, 3, 3),
        (str | int, 3, 3),
        (str | int, "3", "3"),
        (Literal["step", "epoch"] | int, "epoch", "epoch"),
        (Literal["step", "epoch"] | int, 7, 7),
        (Literal[1, None], None, None),
        (list[int], [], []),
        (list[float], [1, 2.5], [1.0, 2.5]),
        (list[list[int]], [[1], []], [[1], []]),
        (list, [1, "x"], [1, "x"]),
        (dict, {1: 2}, {1: 2}),
        (dict[str, int], {"a": 1, "b": None}, {"a": 1}),
        (dict[str, int | None], {"a": 1, "b": None}, {"a": 1, "b": None}),
        (dict[str, Any], {"a": None}, {"a": None}),
        (dict[int, str], {1: "x"}, {1: "x"}),
        (Inner, {"size": 2}, Inner(size=2, rate=0.5)),
        (Inner | None, None, None),
        (Inner | None, {"size": 2, "rate": 1}, Inner(size=2, rate=1.0)),
        (Inner | int, 4, 4),
        (dict[str, Inner], {"x": {"size": 2}, "y": None}, {"x": Inner(size=2)}),
        (
            Target,
            {"_target_": "keras.Sequential", "name": "x"},
            Target("keras.Sequential", {"name": "x"}),
        ),
    ],
    ids=str,
)
def test_what_is_taken(kind: Any, value: object, expected: object) -> None:
    converted = convert(kind, value, "a.b")
    assert converted == expected
    assert type(converted) is type(expected)


@pytest.mark.parametrize(
    ("kind", "value", "problem"),
    [
        (int, "3", "a.b=3: give a whole number"),
        (int, 3.0, "a.b=3.0: give a whole number"),
        (int, True, "a.b=true: give a whole number"),
        (int, None, "a.b=null: give a whole number"),
        (float, "x", "a.b=x: give a number"),
        (float, True, "a.b=true: give a number"),
        (bool, 1, "a.b=1: give true or false"),
        (bool, "yes", "a.b=yes: give true or false"),
        (str, 7, "a.b=7: give text, in quotes: 'a.b=\"7\"'"),
        (str, True, "a.b=true: give text, in quotes: 'a.b=\"true\"'"),
        (str, None, "a.b=null: give text"),
        (str, ["x"], "a.b=[x]: give text"),
        (int | None, "x", "a.b=x: give a whole number"),
        (int | str, 1.5, "a.b=1.5: give a whole number or text"),
        (int | str, {"a": 1}, "a.b={a: 1}: give a whole number or text"),
        (Literal["max", "min"], "mx", "a.b=mx: did you mean max? known: max, min"),
        (Literal["max", "min"], 3, "a.b=3: known: max, min"),
        (Literal[1, 2], True, "a.b=true: known: 1, 2"),
        (
            Literal["step", "epoch"] | int,
            "epch",
            "a.b=epch: did you mean epoch? give step or epoch or a whole number",
        ),
        (list[int], 3, "a.b=3: give a list, such as [1, 2]"),
        (list[int], {"x": 1}, "a.b={x: 1}: give a list, such as [1, 2]"),
        (dict[str, int], [1], "a.b=[1]: give a mapping of names"),
        (dict[str, int], {3: 1}, "a.b.3: put the name in quotes"),
        (Inner, None, "a.b=null: give a mapping of {size, rate}"),
        (Inner, 3, "a.b=3: give a mapping of {size, rate}"),
        (Inner | int, "x", "a.b=x: give a whole number"),
        (
            Inner | int | bool,
            "x",
            "a.b=x: give a mapping of {size, rate} or a whole number or true or false",
        ),
        (Inner, {}, "a.b.size: is missing; add a.b.size=..."),
        (Inner, {"size": 0}, "a.b.size=0: give a count of at least 1"),
        (Inner, {"size": 13}, "a.b: Inner: that brings bad luck"),
        (Inner | None, {"size": 0}, "a.b.size=0: give a count of at least 1"),
        (Base, {"width": 1}, "a.b._target_: is missing; name a Base"),
        (Path, "x", "a.b=x: no config can give this, a Path"),
        (tuple[int, int], [1, 2], "a.b=[1, 2]: no config can give this, a tuple"),
        (Target, None, "a.b=null: give a mapping with _target_, the name of what to build"),
        (Target, {"x": 1}, "a.b={x: 1}: give a mapping with _target_, the name of what to build"),
    ],
    ids=str,
)
def test_what_is_refused(kind: Any, value: object, problem: str) -> None:
    assert refusal(kind, value) == [problem]


def test_every_problem_is_told_with_its_full_key() -> None:
    value = {
        "inner": {"size": "x", "rat": 3},
        "numbers": [1, "two", 3, 4.5],
        "parts": {"first": {"size": 1}, "second": {"rate": "x"}, "third": {"size": 0}},
        "mode": "mean",
        "bases": {"some": {"width": 2}, "none": None},
        "computed": 4,
        "nmae": "x",
    }
    assert refusal(Outer, value, "top") == [
        "top.computed=4: no such key; known: name, inner, numbers, parts, mode, bases",
        "top.nmae=x: no such key; did you mean name? known: name, inner, numbers, parts, mode, bases",
        "top.name: is missing; add top.name=...",
        "top.inner.rat=3: no such key; did you mean rate? known: size, rate",
        "top.inner.size=x: give a whole number",
        "top.numbers[1]=two: give a whole number",
        "top.numbers[3]=4.5: give a whole number",
        "top.parts.second.size: is missing; add top.parts.second.size=...",
        "top.parts.second.rate=x: give a number",
        "top.parts.third.size=0: give a count of at least 1",
        "top.mode=mean: known: max, min",
        "top.bases.some={width: 2}: has no _target_; name a Base, or drop the entry with top.bases.some=null",
    ]


def test_keys_of_the_whole_config_have_no_prefix() -> None:
    assert refusal(Outer, {"mode": "max"}, "") == ["name: is missing; add name=..."]
    assert refusal(Outer, {"name": "x", "inner": {"size": 0}}, "") == [
        "inner.size=0: give a count of at least 1"
    ]


OWN = """
from __future__ import annotations
from dataclasses import dataclass
from typing import TYPE_CHECKING
from runner.callbacks import Callback
if TYPE_CHECKING:
    from pathlib import Path

@dataclass(frozen=True, kw_only=True)
class Own(Callback):
    limits: list[float]
    note: str | None = None

    def after_row(self, values, memory):
        return None

@dataclass(frozen=True, kw_only=True)
class Unreadable(Own):
    place: Path | None = None

def function():
    pass
"""


def test_a_class_of_the_users_own(write: Write) -> None:
    write({"own_callbacks.py": OWN})
    own = convert(Callback, {"_target_": "own_callbacks.Own", "limits": [1, 2]}, "c")
    assert (type(own).__module__, own.limits, own.note) == ("own_callbacks", [1.0, 2.0], None)
    assert refusal(Callback, {"_target_": "own_callbacks.Own", "limit": [1]}, "c") == [
        "c.limit=[1]: no such key; did you mean limits? known: limits, note",
        "c.limits: is missing; add c.limits=...",
    ]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        (
            "own_callbacks.Onw",
            "own_callbacks has no 'Onw'; did you mean Own? known: Own, Unreadable, function",
        ),
        (
            "own_callback.Own",
            "there is no module 'own_callback'; did you mean own_callbacks? is it installed, or in "
            "this folder?",
        ),
        (
            "own_callbacks.function",
            "is no runner.callbacks.Callback; name a dataclass made from it",
        ),
        ("runner.phases.Train", "is no runner.callbacks.Callback; name a dataclass made from it"),
        ("broken_callbacks.Own", "cannot be imported: ZeroDivisionError: division by zero"),
        (3, "give a dotted name, such as package.module.Name"),
        (None, "give a dotted name, such as package.module.Name"),
    ],
)
def test_what_a_class_has_to_be(write: Write, name: object, problem: str) -> None:
    write({"own_callbacks.py": OWN, "broken_callbacks.py": "class Own: ...\n1 / 0\n"})
    shown = "null" if name is None else name
    assert refusal(Callback, {"_target_": name}, "c") == [f"c._target_={shown}: {problem}"]


def test_types_that_cannot_be_read(write: Write) -> None:
    write({"own_callbacks.py": OWN})
    assert refusal(Callback, {"_target_": "own_callbacks.Unreadable", "limits": []}, "c") == [
        "c: the types of own_callbacks.Unreadable cannot be read: name 'Path' is not defined; "
        "import them where the class stands, not only for type checking"
    ]


MODEL = """
def net(shape: list[int], width: int, rate: float = 0.1, act=None, bias=True, size=3, decay=0.5,
        depth: int | None = None, blocks: list[object] = (), sizes: Sequence[int] = (),
        loose: float = None): ...

def open_net(*, units, **more): ...

class Kept:
    def __init__(self, part): ...
"""


_MODELS = ("net", "open_net", "Kept")


def model(**arguments: object) -> dict[str, object]:
    return {"_target_": "own_model.net", "shape": [8], "width": 4, **arguments}


def test_targets_stay_unbuilt_and_may_hold_others(write: Write) -> None:
    write({"own_model.py": MODEL})
    kept = {"_target_": "own_model.Kept", "part": 1}
    built = convert(Target, model(act=kept, blocks=[kept, 2], rate=kept, depth=None), "m")
    inner = Target("own_model.Kept", {"part": 1})
    assert built.arguments["act"] == built.arguments["rate"] == inner
    assert built.arguments["blocks"] == [inner, 2]
    assert (built.key, built.arguments["act"].key) == ("m", "m.act")
    assert built.arguments["blocks"][0].key == "m.blocks[0]"


def test_annotated_arguments_are_converted(write: Write) -> None:
    write({"own_model.py": MODEL})
    built = convert(Target, model(rate=1, sizes=[1, 2]), "m")
    assert built.arguments["rate"] == 1.0
    assert type(built.arguments["rate"]) is float


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (
            {"widht": 3},
            "m.widht=3: own_model.net has no such argument; did you mean width? known: "
            "shape, width, rate, act, bias, size, decay, depth, blocks, sizes, loose",
        ),
        ({"width": "x"}, "m.width=x: give a whole number"),
        ({"shape": [1, "x"]}, "m.shape[1]=x: give a whole number"),
        ({"depth": 1.5}, "m.depth=1.5: give a whole number"),
        ({"sizes": 3}, "m.sizes=3: give a list, such as [1, 2]"),
        ({"bias": "no"}, "m.bias=no: give true or false"),
        ({"size": "big"}, "m.size=big: give a number"),
        ({"decay": True}, "m.decay=true: give a number"),
        (
            {"_partial_": True},
            "m._partial_=true: belongs to Hydra's instantiate; give _target_ and arguments by name",
        ),
        (
            {"act": {"_target_": "own_model.Kpet"}},
            "m.act._target_=own_model.Kpet: own_model has no 'Kpet'; did you mean Kept? known: net, "
            "open_net, Kept",
        ),
        (
            {"blocks": [{"_target_": "own_model.Kept"}]},
            "m.blocks[0].part: is missing; own_model.Kept needs it",
        ),
        (
            {"act": [{"x": {"_target_": "own_model.Kept"}}]},
            "m.act[0].x.part: is missing; own_model.Kept needs it",
        ),
    ],
    ids=str,
)
def test_wrong_arguments(write: Write, arguments: dict[str, object], problem: str) -> None:
    write({"own_model.py": MODEL})
    assert refusal(Target, model(**arguments), "m") == [problem]


def test_what_nothing_is_known_of_is_passed_on(write: Write) -> None:
    write({"own_model.py": MODEL})
    passed = {"loose": None, "act": 3, "size": [1], "decay": 4, "bias": 1}
    arguments = convert(Target, model(**passed), "m").arguments
    assert {name: arguments[name] for name in passed} == passed
    many = {"_target_": "own_model.open_net", "units": 1, "dtype": "float32"}
    assert convert(Target, many, "m").arguments == {"units": 1, "dtype": "float32"}


def test_a_misspelling_is_not_meant_for_open_arguments(write: Write) -> None:
    write({"own_model.py": MODEL})
    given = {"_target_": "own_model.open_net", "untis": 1}
    assert refusal(Target, given, "m") == [
        "m.untis=1: own_model.open_net has no such argument; did you mean units? known: units",
        "m.units: is missing; own_model.open_net needs it",
    ]
