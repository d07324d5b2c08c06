"""Building what the config names, and what is said when that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from runner.allowances import allowing
from runner.errors import ConfigError, DataError
from runner.targets import NotAllowed, Target, load

Write = Callable[[dict[str, str]], None]

MINE = """
from dataclasses import dataclass
from runner.errors import DataError

@dataclass
class Box:
    content: object = None
    name: str = ""

def broken(reason):
    raise ValueError(reason)

def without_data():
    raise DataError("the download failed")
"""


@pytest.fixture(autouse=True)
def allowed() -> Iterator[None]:
    """What the tests below define is the user's own."""
    names = ("Box", "broken", "without_data", "absent", "net")
    with allowing([*map("mine.{}".format, names), "nowhere.Net"]):
        yield


def target(name: str, key: str = "model", /, **arguments: object) -> Target:
    return Target(f"mine.{name}", arguments, key)


def test_targets_in_arguments_are_built_first(write: Write) -> None:
    write({"mine.py": MINE})
    inner = target("Box", content=1)
    outer = target("Box", content=[inner, {"deep": inner, "plain": [1, None, "x"]}])
    built = outer.build(name="given later")
    assert built.name == "given later"
    assert built.content[0].content == 1
    assert built.content[1]["deep"].content == 1
    assert built.content[1]["plain"] == [1, None, "x"]
    assert built.content[0] is not built.content[1]["deep"]


def test_a_target_is_no_different_for_where_it_stands() -> None:
    assert target("Box", "model", content=1) == target("Box", "optimizer", content=1)


def test_how_it_is_shown() -> None:
    shown = target("Box", content=[target("Box")], name=None)
    assert str(shown) == "{_target_: mine.Box, content: [{_target_: mine.Box}], name: null}"


@pytest.mark.parametrize(
    ("failing", "message"),
    [
        (
            target("broken", reason="too\n   wide"),
            "model=mine.broken: ValueError: too wide; it was given {reason: too wide}",
        ),
        (
            target("Box", width=[1, None]),
            "model=mine.Box: TypeError: Box.__init__() got an unexpected keyword argument 'width'; "
            "it was given {width: [1, null]}",
        ),
        (
            target("absent"),
            "model=mine.absent: AttributeError: module 'mine' has no attribute 'absent'",
        ),
        (
            Target("nowhere.Net", {}, "model"),
            "model=nowhere.Net: ModuleNotFoundError: No module named 'nowhere'",
        ),
        (
            target("Box", content=target("broken", "model.content", reason="inner")),
            "model.content=mine.broken: ValueError: inner; it was given {reason: inner}",
        ),
    ],
)
def test_a_failure_names_key_target_reason_and_arguments(
    write: Write, failing: Target, message: str
) -> None:
    write({"mine.py": MINE})
    with pytest.raises(ConfigError) as caught:
        failing.build()
    assert str(caught.value) == message


def test_an_error_in_plain_words_already_stays_as_it_is(write: Write) -> None:
    write({"mine.py": MINE})
    with pytest.raises(DataError, match=r"^the download failed$"):
        target("without_data").build()


def test_an_interrupt_is_no_failure(write: Write) -> None:
    write({"mine.py": "def net():\n    raise KeyboardInterrupt\n"})
    with pytest.raises(KeyboardInterrupt):
        target("net").build()


def test_what_is_not_allowed_is_not_imported(write: Write) -> None:
    write({"mine.py": "raise SystemExit('imported')\ndef other(): ...\n"})
    with pytest.raises(NotAllowed, match=r"^is not allowed; allow it with --allow mine\.other, or"):
        load("mine.other")
    with pytest.raises(ConfigError, match=r"^model=mine\.other: NotAllowed: is not allowed"):
        target("other").build()
