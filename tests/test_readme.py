"""The README: every command in it is run, everything it shows is compared with what is so."""

from __future__ import annotations

import inspect
import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
import yaml
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from runner.cli import run_command
from runner.config.compose import compose
from runner.config.hydra import experiment_of
from runner.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[1]
TEXT = (REPOSITORY / "README.md").read_text()
KINDS = ("console", "python", "text", "yaml")
TIMEOUT_S = 240


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    kind: str
    body: str
    line: int

    @property
    def file(self) -> str | None:
        """What the reader is told to call it, in a comment on its first line."""
        named = re.match(r"# ([\w/]+\.(?:py|yaml))\n", self.body)
        return named[1] if named and self.kind in ("python", "yaml") else None

    def commands(self) -> Iterator[tuple[str, list[str]]]:
        """The commands after a prompt, and the output shown below each."""
        for part in re.split(r"^\$ ", self.body, flags=re.MULTILINE)[1:]:
            command, *shown = part.replace("\\\n", " ").splitlines()
            yield command, shown


def blocks() -> list[Block]:
    found = re.finditer(r"^```([^\n]*)\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
    return [Block(m[1], m[2], TEXT[: m.start()].count("\n") + 1) for m in found]


def section(title: str) -> str:
    return TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """The cells of a table's rows, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


# --- what is shown and what was printed -------------------------------------------------------------

_HASH = re.compile(r"\b[0-9a-f]{64}\b")
_PROGRESS = re.compile(r"\w+ step # epoch #( \w+/\w+ #)+( # steps/s)?")
# A kill in the middle of a save leaves something to tell; most kills do not meet one.
_CHANCE = re.compile(r"\S+, a save that did not end, ")


def stable(line: str) -> str:
    """``line`` without what differs between machines: numbers, ids, hashes and the width of columns."""
    line = _HASH.sub("<hash>", line)
    line = re.sub(r"\b[0-9a-f]{10}\b", "<id>", line)
    line = re.sub(r"\d[\d,]*(\.\d+)?(e[-+]?\d+)?(/#)?", "#", line)
    return re.sub(r"\s+", " ", re.sub(r"━+", "━", line)).strip().replace("#/#", "#")


def lasting(lines: Sequence[str]) -> list[str]:
    """The lines that do not depend on the clock, as ``stable`` has them."""
    told = [line for line in map(stable, lines) if line and not _CHANCE.match(line)]
    return [line for line in told if not _PROGRESS.fullmatch(line)]


def check_output(shown: list[str], printed: str) -> None:
    """Line by line; ``...`` stands for any number of lines.

    What is shown twice has to be printed twice too: two fingerprints that are shown equal are equal.
    """
    expected, actual = lasting(shown), lasting(printed.splitlines())
    pattern = "".join(r"(.*\n)*?" if one == "..." else f"{re.escape(one)}\n" for one in expected)
    assert re.fullmatch(pattern, "".join(f"{line}\n" for line in actual)), (expected, actual)
    if "..." not in expected:
        assert repeated("\n".join(shown)) == repeated(printed)
    phases = {stable(line).split()[0] for line in printed.splitlines() if " step " in line}
    for line in map(stable, shown):
        assert not _PROGRESS.fullmatch(line) or line.split()[0] in phases, line


def repeated(text: str) -> list[int]:
    """For every hash, where it occurred first."""
    hashes = _HASH.findall(text)
    return [hashes.index(one) for one in hashes]


def test_what_is_stable_in_a_line() -> None:
    first = stable("train        step 118/590  epoch 6.0  validation/loss 0.1834  1,025 steps/s")
    assert first == stable("train     step 40/1,200  epoch 12.0  validation/loss 2e-05  9 steps/s")
    assert _PROGRESS.fullmatch(first)
    assert stable("best  outputs/a/ff9e919111/ckpt-492") == "best outputs/a/<id>/ckpt-#"
    assert stable("best  outputs/a/ff9e919111/ckpt-492") != stable(
        "last outputs/a/0123456789/ckpt-1"
    )
    check_output(["a 1", "...", "b 2"], "a 3\nx\ny\nb 4\n")
    for shown in (["a 1", "b 2"], ["a 1", "..."], ["b 2", "...", "a 1"]):
        with pytest.raises(AssertionError):
            check_output(shown, "a 3\nx\nb 4\n" if shown[1] != "..." else "x\na 3\n")


# --- running it -----------------------------------------------------------------------------------------


class Reader:
    """Does what the README says, in one directory, one thing after the other."""

    def __init__(self, capfd: pytest.CaptureFixture[str], bin_directory: Path) -> None:
        self._capfd = capfd
        self._code = 0
        self._environment = {
            **os.environ,
            "PATH": f"{bin_directory}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
        }
        # What `pip install` puts there.
        command = bin_directory / "runner"
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m runner "$@"\n')
        command.chmod(0o755)

    def follow(self, block: Block) -> None:
        if block.file:
            Path(block.file).parent.mkdir(parents=True, exist_ok=True)
            Path(block.file).write_text(block.body)
        elif block.kind == "python":
            self._captured(lambda: exec(compile(block.body, "README.md", "exec"), {}))
        elif block.kind == "console":
            for command, shown in block.commands():
                self._do(command, shown)
        elif block.kind == "text":
            check_run_directory(block.body)
        else:
            check_excerpt(block.body)

    def _do(self, command: str, shown: list[str]) -> None:
        """Runs a command: by itself if it is of the runner alone, since TensorFlow's start takes long."""
        words = shlex.split(command, comments=True)
        if words[0] in ("make", "pip"):
            check_set_up(words)
            assert not shown
            return
        if command == "echo $?":
            assert shown == [str(self._code)]
            self._code = 0
            return
        assert self._code == 0, "the command before it failed, and the README does not say so"
        # What is reproduced takes the threads of the original, which TensorFlow sets once in a process.
        is_apart = words[1:2] == ["reproduce"] or re.search(r"[&;<>`]", command)
        if words[0] == "runner" and not is_apart:
            GlobalHydra.instance().clear()
            printed = self._captured(lambda: self._leave(run_command(words[1:])))
        else:
            printed = self._in_a_shell(command)
        if shown:
            check_output(shown, printed)

    def end(self) -> None:
        assert self._code == 0, "the last command failed, and the README does not say so"

    def _leave(self, code: int) -> None:
        self._code = code

    def _captured(self, action: Callable[[], None]) -> str:
        self._capfd.readouterr()
        action()
        out, err = self._capfd.readouterr()
        return out + err

    def _in_a_shell(self, command: str) -> str:
        # In a session of its own, so that whatever it leaves running can be ended with it.
        shell = subprocess.Popen(
            ["bash", "-c", command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environment,
            start_new_session=True,
        )
        try:
            printed, _ = shell.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(shell.pid, signal.SIGKILL)
            raise
        self._code = shell.returncode
        return re.sub(r"^bash: line \d+:.* Killed .*\n", "", printed, flags=re.MULTILINE)


def check_set_up(words: list[str]) -> None:
    """Commands that would take minutes: they have to name what there is."""
    makefile = (REPOSITORY / "Makefile").read_text()
    if words[0] == "make":
        for word in words[1:]:
            name, assigns, _ = word.partition("=")
            known = rf"^{name} \?=" if assigns else rf"^{name}:.* ## "
            assert re.search(known, makefile, flags=re.MULTILINE), word
    else:
        assert words == ["pip", "install", "-e", "."]
        project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
        assert project["scripts"] == {"runner": "runner.cli:main"}


OCCASIONAL = {".lock", "evaluations", "reproductions", "code.diff"}
"""What the text tells of a run directory, as not every run has it."""


def check_run_directory(listing: str) -> None:
    """Everything in the list is there, and everything that is there is in the list."""
    first, *lines = listing.splitlines()
    assert re.fullmatch(r"outputs/digits_mlp/[0-9a-f]{10}/", first)
    place = next(Path("outputs/digits_mlp").glob("*/run.json")).parent
    contents = {line.split()[0].rstrip("/"): re.findall(r"[\w-]+\.\S+\w", line) for line in lines}
    assert set(contents) == {path.name for path in place.iterdir()} - OCCASIONAL
    for folder in (".hydra", "checkpoints"):
        there = {stable(path.name) for path in (place / folder).iterdir()}
        listed = {stable(name) for name in contents[folder]}
        assert listed == there - {"checkpoint"}


def check_excerpt(text: str) -> None:
    """A block of the config is what stands in its group's default, comments included."""
    group, *lines = text.splitlines()
    shipped = (REPOSITORY / "conf" / group.rstrip(":") / "default.yaml").read_text().splitlines()
    assert [line.removeprefix("  ") for line in lines] == shipped[1:]


@pytest.fixture
def reader(
    workdir: Path,
    tmp_path_factory: pytest.TempPathFactory,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Reader]:
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.syspath_prepend(workdir)
    yield Reader(capfd, tmp_path_factory.mktemp("bin"))
    GlobalHydra.instance().clear()
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(workdir)):
            del sys.modules[name]


@pytest.mark.slow
def test_every_command_does_what_the_readme_shows(reader: Reader) -> None:
    for block in blocks():
        try:
            reader.follow(block)
        except (Exception, SystemExit) as error:
            error.add_note(f"README.md, the block at line {block.line}:\n{block.body}")
            raise
    reader.end()


def test_nothing_is_skipped() -> None:
    kinds = [block.kind for block in blocks()]
    assert set(kinds) == set(KINDS)
    assert TEXT.count("\n```") == 2 * len(kinds)
    for block in blocks():
        if block.kind == "console":
            assert block.body.startswith("$ ")
    assert "~~~" not in TEXT


# --- what is said without a command -----------------------------------------------------------------


def test_every_member_of_every_group_is_listed() -> None:
    listed = {}
    for groups, members in rows(section("The config at a glance")):
        names = re.split(r"[,;]\s*", re.sub(r" ?\([^)]*\)", "", members))
        for group in re.findall(r"`([\w/]+)`", groups):
            listed[group] = set(names)
    conf = REPOSITORY / "conf"
    there: dict[str, set[str]] = {}
    for path in conf.glob("*/**/*.yaml"):
        there.setdefault(str(path.parent.relative_to(conf)), set()).add(path.stem)
    assert listed == there


def test_every_override_in_the_text_can_be_given() -> None:
    placeholders = {"group=name", "key=value", "+key=value", "run.dir=..."}
    spans = set(re.findall(r"`([~+]?[a-z_.]+(?:=[\w.]+)?)`", TEXT))
    overrides = {span for span in spans if "=" in span or span.startswith("~")} - placeholders
    assert {"debug=smoke", "run.fresh=true", "run.max_time=2h", "~phases.evaluate"} <= overrides
    for override in overrides:
        assert experiment_of(compose([override])).phases


def test_every_command_is_listed(cli: Callable[..., Any]) -> None:
    listed = {cell.split()[1] for cell, _ in rows(section("Commands"))}
    known = cli("nonsense").err.partition("known: ")[2].strip().split(", ")
    assert listed == {"[overrides]`", "-m", *known}
    for command in known:
        with pytest.raises(SystemExit) as end:
            run_command([command, "--help"])
        assert end.value.code == 0


def test_every_exit_code_is_listed(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sentence = TEXT.partition("Exit codes: ")[2].partition(";")[0]
    codes = {0, *(kind.exit_code for kind in [UserError, *kinds_of(UserError)])}

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("runner.session.run", interrupted)
    codes.add(cli("debug=smoke").code)
    assert set(map(int, re.findall(r"\b\d+\b", sentence))) == codes


def kinds_of(error: type[UserError]) -> Iterator[type[UserError]]:
    for kind in error.__subclasses__():
        yield from (kind, *kinds_of(kind))


def test_every_line_of_tensorflow_has_its_config() -> None:
    config = compose([])
    for _, given in rows(section("TensorFlow, line by line")):
        for text in re.findall(r"`([^`]+)`", given):
            changed = OmegaConf.merge(config, {"checkpoint": yaml.safe_load(text)})
            assert isinstance(changed, DictConfig)
            differs = experiment_of(changed).checkpoint != experiment_of(config).checkpoint
            assert differs != (text in ("numbering: step", "restore: auto")), text


def test_every_line_of_tensorflow_is_tensorflows() -> None:
    kinds = {
        "CheckpointManager": tf.train.CheckpointManager,
        "save": tf.train.CheckpointManager.save,
    }
    for lines, _ in rows(section("TensorFlow, line by line")):
        for called, arguments in re.findall(r"(\w+)\(([^()]*)\)", lines):
            named = set(re.findall(r"(\w+)=", arguments))
            assert called not in kinds or named <= set(inspect.signature(kinds[called]).parameters)
        for method in re.findall(r"manager\.(\w+)", lines):
            assert hasattr(tf.train.CheckpointManager, method)


OWN = """
from dataclasses import dataclass

import keras
from runner.callbacks import Callback
from runner.tasks import Task


@dataclass(frozen=True, kw_only=True)
class StopAbove(Callback):
    metric: str
    limit: float

    def after_row(self, values, memory):
        above = values.get(self.metric, 0.0) > self.limit
        return f"{self.metric} rose above {self.limit}" if above else None


@dataclass(frozen=True, kw_only=True)
class Hinge(Task):
    margin: float = 1.0

    def metric_names(self):
        return ["loss"]

    def build(self):
        import tensorflow as tf
        from runner.tasks.steps import Steps

        class HingeSteps(Steps):
            def loss(steps, model, batch, *, training):
                outputs = model(batch["x"], training=training)
                wanted = 2.0 * tf.one_hot(batch["y"], outputs.shape[-1]) - 1.0
                losses = tf.reduce_mean(tf.nn.relu(self.margin - wanted * outputs), axis=1)
                return tf.reduce_sum(losses * batch["weight"]) / tf.reduce_sum(batch["weight"])

        return HingeSteps([])
"""


def test_a_callback_and_a_task_of_ones_own(reader: Reader) -> None:
    Path("own.py").write_text(OWN)
    Path("my_conf/task").mkdir(parents=True)
    Path("my_conf/task/hinge.yaml").write_text("_target_: own.Hinge\nmargin: 0.5\n")
    command = """runner --allow own.Hinge --allow own.StopAbove --config-dir my_conf task=hinge \\
        '+callbacks.above={_target_: own.StopAbove, metric: train/loss, limit: 0.1}' \\
        checkpoint.best=null phases=train tracking.log_every.steps=2 engine.limit_steps=6"""
    reader.follow(Block("console", f"$ {command}", 0))
    reader.end()
    rows = Path("outputs/latest/metrics.jsonl").read_text().splitlines()
    assert '"step": 2' in rows[-1]


def test_the_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        assert (REPOSITORY / target).is_file(), target


def test_no_path_of_any_machine_is_shown() -> None:
    assert not re.search(r"(?<![\w.<])/(tmp|home|root|work|Users|opt)\b", TEXT)
