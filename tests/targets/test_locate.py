"""Names are found by reading files, however they came to be where they are, and nothing is run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.targets import NotFound, locate

Write = Callable[[dict[str, str]], None]

TRAP = "from pathlib import Path\nPath('executed').touch()\n"
"""What a module does that must not be imported."""


def defined(name: str) -> str | None:
    """Module and line of a definition, or None where the source does not tell."""
    located = locate(name)
    line = getattr(located.definition, "lineno", None)
    return None if line is None else f"{located.module}:{line}"


@pytest.mark.parametrize(
    ("name", "module", "kind"),
    [
        ("keras.optimizers.AdamW", "keras.src.optimizers.adamw", "ClassDef"),
        ("keras.losses.MeanSquaredError", "keras.src.losses.losses", "ClassDef"),
        ("keras.applications.MobileNetV2", "keras.src.applications.mobilenet_v2", "FunctionDef"),
        ("keras.Model", "keras.src.models.model", "ClassDef"),
        ("models.mlp.mlp", "models.mlp", "FunctionDef"),
        ("runner.data.Digits", "runner.data.digits", "ClassDef"),
    ],
)
def test_imports_are_followed_to_the_definition(name: str, module: str, kind: str) -> None:
    located = locate(name)
    assert (located.module, type(located.definition).__name__) == (module, kind)


@pytest.mark.parametrize(
    "name",
    ["os.system", "os.path.join", "math.sqrt", "numpy.array", "tensorflow.keras.Model"],
)
def test_of_what_the_source_does_not_tell_nothing_is_claimed(name: str) -> None:
    assert defined(name) is None


def test_a_class_in_the_working_directory(write: Write) -> None:
    write({"mine.py": TRAP + "class Net: ...\n"})
    assert defined("mine.Net") == "mine:3"


def test_relative_imports_renames_and_stars_through_packages(write: Write) -> None:
    write(
        {
            "mine/__init__.py": "from .nets import Net as Small\nfrom . import nets\nfrom .more import *\n",
            "mine/nets/__init__.py": "from ..core.base import Net\n",
            "mine/core/base.py": TRAP + "class Net: ...\n",
            "mine/more.py": "from mine.core.base import Net as Starred\ndef made(): ...\n",
        }
    )
    assert defined("mine.Small") == "mine.core.base:3"
    assert defined("mine.nets.Net") == "mine.core.base:3"
    assert defined("mine.made") == "mine.more:2"
    assert defined("mine.Starred") == "mine.core.base:3"


def test_folders_without_init_files(write: Write) -> None:
    write({"mine/deep/er/net.py": "class Net: ...\n"})
    assert defined("mine.deep.er.net.Net") == "mine.deep.er.net:1"


def test_the_branch_that_is_there(write: Write) -> None:
    write(
        {
            "mine.py": "try:\n    from absent_package import Net\nexcept ImportError:\n    class Net: ...\n"
            "try:\n    from other import Both\nexcept ImportError:\n    class Both: ...\n"
            "if True:\n    def made(): ...\nelse:\n    made = None\n"
            "with open('x') as file:\n    class Inside: ...\n",
            "other.py": "class Both: ...\n",
        }
    )
    assert defined("mine.Net") == "mine:4"
    assert defined("mine.Both") == "other:1"
    assert defined("mine.made") == "mine:10"
    assert defined("mine.Inside") == "mine:14"


def test_the_last_definition_counts(write: Write) -> None:
    write(
        {
            "mine.py": "def net(a): ...\ndef net(b): ...\n"
            "class Wrapped: ...\nWrapped = print(Wrapped)\n"
            "first, (second, third) = 1, (2, 3)\nannotated: int = 4\n"
        }
    )
    assert defined("mine.net") == "mine:2"
    assert defined("mine.Wrapped") is None
    for name in ("first", "third", "annotated"):
        assert defined(f"mine.{name}") is None


def test_modules_with_attributes_made_on_demand(write: Write) -> None:
    write({"mine.py": "def __getattr__(name): ...\n"})
    assert defined("mine.Anything") is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Net", "give a dotted name, such as package.module.Name"),
        ("", "give a dotted name, such as package.module.Name"),
        ("mine.Nett", "mine has no 'Nett'; did you mean Net? known: Net, helper"),
        ("mine.np", "numpy is a module; name a class or a function of it"),
        ("pack.part", "pack.part is a module; name a class or a function of it"),
        ("pack.prt.Net", "pack has no module 'prt'; did you mean part? known: other, part"),
        ("pack.part.Nte", "pack.part has no 'Nte'; did you mean Net? known: Net"),
        ("pack.Shown.more", "pack has no module 'Shown'; known: other, part"),
        ("pack.Gone", "there is no module 'absent_package'; is it installed, or in this folder?"),
        ("circle.A", "other_half has no 'A'; none is known"),
        (
            "absent_package.Net",
            "there is no module 'absent_package'; is it installed, or in this folder?",
        ),
        (
            "modles.mlp.mlp",
            "there is no module 'modles'; did you mean models? is it installed, or in this folder?",
        ),
        (".mine.Net", "give a dotted name, such as package.module.Name"),
        ("keras.layers", "keras.layers is a module; name a class or a function of it"),
    ],
)
def test_what_is_not_there(write: Write, name: str, message: str) -> None:
    write(
        {
            "mine.py": "import numpy as np\nclass Net: ...\ndef helper(): ...\n_hidden = 1\n",
            "pack/__init__.py": "from .part import Net as Shown\nfrom absent_package import Gone\n",
            "pack/part.py": "class Net: ...\n",
            "pack/other.py": "",
            "circle.py": "from other_half import A\n",
            "other_half.py": "from circle import A\n",
        }
    )
    with pytest.raises(NotFound) as caught:
        locate(name)
    assert str(caught.value) == message


def test_a_file_that_is_not_python(write: Write, workdir: Path) -> None:
    write({"mine.py": "class Net:\n    def __init__(self:\n"})
    with pytest.raises(NotFound) as caught:
        locate("mine.Net")
    assert str(caught.value).startswith(f"{workdir / 'mine.py'}, line 2: ")
    (workdir / "zeros.py").write_bytes(b"class Net: ...\0")
    with pytest.raises(NotFound, match=r"zeros\.py"):
        locate("zeros.Net")


def test_names_in_the_script_itself() -> None:
    script = (
        "from runner.targets import locate\n"
        "class Net: ...\n"
        "located = locate('__main__.Net')\n"
        "print(located.definition)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("None\n", "")


def test_nothing_is_imported(write: Write, workdir: Path) -> None:
    write(
        {
            "mine/__init__.py": TRAP + "from mine.net import Net\n",
            "mine/net.py": TRAP + "import keras\nclass Net(keras.Model): ...\n",
        }
    )
    before = set(sys.modules)
    for name in ("mine.Net", "mine.net.Net", "keras.applications.ResNet50", "sklearn.svm.SVC"):
        assert defined(name) is not None
    with pytest.raises(NotFound):
        locate("mine.absent.Net")
    assert set(sys.modules) == before
    assert not (workdir / "executed").exists()
