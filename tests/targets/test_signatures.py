"""Arguments are read from the source: those of the first __init__ that Python would find."""

from __future__ import annotations

import ast
from collections.abc import Callable

import pytest

from runner.targets import locate, signature

Write = Callable[[dict[str, str]], None]


def arguments(name: str) -> str | None:
    """All arguments as one would write them, or None where the source does not tell."""
    called = signature(locate(name))
    if called is None:
        return None
    written = [
        parameter.name
        + (f": {ast.unparse(parameter.annotation)}" if parameter.annotation else "")
        + (f" = {ast.unparse(parameter.default)}" if parameter.default else "")
        for parameter in called.parameters.values()
    ]
    assert all(one.required == (one.default is None) for one in called.parameters.values())
    return ", ".join([*written, *(["**"] if called.open else [])])


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def net(a, b=1, *, c, d=None, **more): ...", "a, b = 1, c, d = None, **"),
        ("def net(a: int, b: float = 0.5): ...", "a: int, b: float = 0.5"),
        ("def net(a, /, b, c=2): ...", "b, c = 2"),
        ("def net(*layers): ...", ""),
        ("async def net(a): ...", "a"),
        ("class net:\n def __init__(self, a, *, b=1): ...", "a, b = 1"),
        ("class net:\n def __init__(self, /, a): ...", "a"),
        ("class net:\n def __init__(*args, **more): ...", "**"),
        ("class net: ...", ""),
        ("class net(object): ...", ""),
        ("class base:\n def __init__(self, a): ...\nclass net(base): ...", "a"),
        (
            "class mixin: ...\nclass base:\n def __init__(self, a): ...\nclass net(mixin, base): ...",
            "a",
        ),
        ("import other\nclass net(other.Base): ...", "x, y"),
        ("import other as o\nclass net(o.Base): ...", "x, y"),
        ("from other import Base as B\nclass net(B): ...", "x, y"),
        ("from other import Base\nclass net(Base[int]): ...", "x, y"),
        ("from other import Child as net", "x, y"),
        ("import functools\n@functools.lru_cache(3)\ndef net(a): ...", "a"),
        (
            "import keras\n@keras.saving.register_keras_serializable()\n"
            "class net:\n def __init__(self, a): ...",
            "a",
        ),
    ],
)
def test_what_can_be_given(write: Write, source: str, expected: str) -> None:
    write(
        {
            "mine.py": source,
            "other.py": "class Base:\n def __init__(self, x, y): ...\nclass Child(Base): ...\n",
        }
    )
    assert arguments("mine.net") == expected


@pytest.mark.parametrize(
    "source",
    [
        "net = lambda a: a",
        "@decorated\ndef net(a): ...",
        "import dataclasses\n@dataclasses.dataclass(frozen=True)\nclass net:\n a: int",
        "class base:\n def __init__(self, a): ...\n@decorated\nclass net(base): ...",
        "class net:\n def __new__(cls, a): ...",
        "class net(dict): ...",
        "class net(make_base()): ...",
        "class unknown(dict): ...\nclass net(unknown): ...",
        "from other import net\nclass net(net): ...",
        "class net(net): ...",
    ],
)
def test_where_the_source_does_not_tell(write: Write, source: str) -> None:
    write({"mine.py": source, "other.py": "from mine import net\n"})
    assert arguments("mine.net") is None


def test_keras() -> None:
    called = signature(locate("keras.optimizers.AdamW"))
    assert called is not None
    assert list(called.parameters)[:3] == ["learning_rate", "weight_decay", "beta_1"]
    assert called.open
    assert arguments("keras.applications.MobileNetV2") == (
        "input_shape = None, alpha = 1.0, include_top = True, weights = 'imagenet', "
        "input_tensor = None, pooling = None, classes = 1000, classifier_activation = 'softmax', "
        "name = None"
    )
    assert arguments("keras.Model") == "**"
