"""The hash of the source behind a target: the user's files that it is made from, and no others."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.targets import forget, hashes, sources

Write = Callable[[dict[str, str]], None]

FILES = {
    "mine/__init__.py": "from mine.net import Net\n",
    "mine/net.py": "import keras\nfrom .blocks import block\nclass Net(keras.Model): ...\n",
    "mine/blocks.py": "def block():\n    import helpers.numbers\n    return helpers\n",
    "mine/unused.py": "",
    "helpers/__init__.py": "",
    "helpers/numbers.py": "import mine.net\nimport absent_package\nfrom . import more\n",
    "helpers/more.py": "this is no Python",
}
BEHIND = {
    "helpers/__init__.py",
    "helpers/more.py",
    "helpers/numbers.py",
    "mine/__init__.py",
    "mine/blocks.py",
    "mine/net.py",
}


def test_everything_of_the_users_that_is_imported(write: Write) -> None:
    write(FILES)
    found = sources(["mine.net.Net", "keras.optimizers.Adam", "os.system"])
    assert list(found) == sorted(BEHIND)
    for name, digest in found.items():
        assert digest == hashlib.sha256(FILES[name].encode()).hexdigest()
    assert sources(["mine.Net"]) == found


@pytest.mark.parametrize("changed", sorted(FILES))
def test_a_change_shows_in_the_file_that_changed(write: Write, changed: str) -> None:
    write(FILES)
    before = sources(["mine.net.Net"])
    write({changed: FILES[changed] + "\n# changed\n"})
    after = sources(["mine.net.Net"])
    differing = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    assert differing == {changed} & BEHIND
    assert hashes(before) == after


def test_files_that_are_gone_have_no_hash(write: Write, workdir: Path) -> None:
    write(FILES)
    before = sources(["mine.net.Net"])
    (workdir / "mine/blocks.py").unlink()
    forget()
    assert set(hashes(before)) == BEHIND - {"mine/blocks.py"}


def test_a_file_is_read_again_after_forgetting(write: Write, workdir: Path) -> None:
    write({"mine.py": "class Net: ...\n", "late.py": ""})
    assert set(sources(["mine.Net"])) == {"mine.py"}
    (workdir / "mine.py").write_text("import late\nclass Net: ...\n")
    forget()
    assert set(sources(["mine.Net"])) == {"late.py", "mine.py"}


def test_installed_packages_are_left_out(write: Write, workdir: Path, monkeypatch) -> None:
    folder = workdir / "venv/lib/python3/site-packages"
    write(
        {f"{folder}/installed.py": "import mine\n", "mine.py": "import installed\nclass Net: ...\n"}
    )
    monkeypatch.syspath_prepend(folder)
    assert set(sources(["mine.Net"])) == {"mine.py"}
    assert sources(["installed.Net", "keras.Model", "json.JSONDecoder"]) == {}


def test_a_class_that_is_no_attribute_of_its_module(write: Write) -> None:
    write(
        {
            "mine/__init__.py": "",
            "mine/made.py": "def make():\n    class Net: ...\n    return Net\n",
        }
    )
    assert set(sources(["mine.made.make.<locals>.Net"])) == {"mine/made.py"}


def test_nothing_is_imported(write: Write) -> None:
    write(FILES)
    before = set(sys.modules)
    sources(["mine.net.Net", "keras.Model"])
    assert set(sys.modules) == before


def test_models_that_ship_with_the_runner() -> None:
    assert set(sources(["models.mlp.mlp"])) == {"models/mlp.py"}
