"""A config that is not right: one message with key, value, reason and fix, in no time, and exit code 2."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from runner.config.hydra import config_directory

Command = Callable[..., Any]

KEYS = (
    "name, seed, run, model, data, task, optimizer, checkpoint, phases, engine, tracking, callbacks, "
    "sweep"
)
ROOT = f"known: {KEYS}, debug, experiment"
GROUPS = (
    "known: callbacks, checkpoint, data, debug, engine, experiment, model, optimizer, "
    "optimizer/learning_rate, phases, sweep, task, tracking"
)
MODELS = "known: application, cnn, gpt, linear, lstm, mlp, own, resnet"
ADAM = (
    "known: learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay, clipnorm, clipvalue, "
    "global_clipnorm, use_ema, ema_momentum, ema_overwrite_frequency, loss_scale_factor, "
    "gradient_accumulation_steps, name"
)
FUNCTIONS = "known: int, str, bool, float, choice, range, interval, tag, sort, shuffle, glob"
OPTIONS = (
    "known: --help, --hydra-help, --version, --cfg, --resolve, --package, --run, --multirun, "
    "--shell-completion, --config-path, --config-name, --config-dir, --experimental-rerun, --info, --allow"
)
DURATION = "a number and a unit, such as 90s, 30m, 2h or 1d"
IS_RUN = "it is run as code then, so only if you know it"
NET = "known: shape, outputs, hidden, activation, dropout"
NO_BEST = "checkpoint.best is null; give it a metric, or restore latest"
MEASURED = "known: validation/loss, validation/accuracy"

BAD: list[tuple[str, str]] = [
    # Keys that there are not.
    ("sed=3", f"sed=3: no such key; did you mean seed? {ROOT}"),
    ("+sed=3", f"sed=3: no such key; did you mean seed? {ROOT}"),
    ("++sed=3", f"sed=3: no such key; did you mean seed? {ROOT}"),
    ("modle=cnn", f"modle=cnn: no such key; did you mean model? {ROOT}"),
    ("optimiser.lr=1", f"optimiser={{lr: 1}}: no such key; did you mean optimizer? {ROOT}"),
    ("run.dri=x", "run.dri=x: no such key; did you mean dir? known: dir, fresh, max_time"),
    (
        "model.hiden=[3]",
        f"model.hiden=[3]: models.mlp.mlp has no such argument; did you mean hidden? {NET}",
    ),
    (
        "optimizer.lerning_rate=3",
        "optimizer.lerning_rate=3: keras.optimizers.Adam has no such argument; did you mean "
        f"learning_rate? {ADAM}",
    ),
    (
        "optimizer.clipnorm=1",
        "optimizer.clipnorm=1: the config has no such key yet; add it with +optimizer.clipnorm=1",
    ),
    (
        "optimizer.lr=1",
        "optimizer.lr=1: the config has no such key yet; did you mean learning_rate? if not, add it with "
        "+optimizer.lr=1",
    ),
    ("hydra.run.dri=x", "hydra.run.dri=x: no such key; did you mean dir? known: dir"),
    (
        "phases.train.until.epoch=3",
        "phases.train.until.epoch=3: no such key; did you mean epochs? known: epochs, steps",
    ),
    ("seed.x=3", "seed={x: 3}: give a whole number"),
    ("+seed=3", "+seed=3: the config has this key already; give seed=3"),
    (
        "~sed",
        "~sed: there is no such key; did you mean seed? known: model, data, task, optimizer, "
        "checkpoint, phases, engine, tracking, callbacks, sweep, name, seed, run",
    ),
    (
        "~callbacks.stop",
        "~callbacks.stop: there is no such key; did you mean stop_on_nan? known: stop_on_nan",
    ),
    ("~seed", "seed: is missing; add seed=..."),
    ("~model.shape", "model.shape: is missing; models.mlp.mlp needs it"),
    # Groups and their choices.
    ("model=mpl", f"model=mpl: there is no model/mpl.yaml; did you mean mlp? {MODELS}"),
    ("+model=cnn", "+model=cnn: one is chosen already; give model=cnn"),
    ("model=null", f"model=null: give the name of a choice, or ~model for none; {MODELS}"),
    (
        "debug=null",
        "debug=null: give the name of a choice, or ~debug for none; known: overfit, profile, smoke",
    ),
    (
        "debug=smok",
        "debug=smok: there is no debug/smok.yaml; did you mean smoke? known: overfit, profile, smoke",
    ),
    (
        "optimizer/learning_rate=cosin",
        "optimizer/learning_rate=cosin: there is no optimizer/learning_rate/cosin.yaml; did you mean "
        "cosine? known: constant, cosine, exponential, piecewise",
    ),
    (
        "optimizer/lerning_rate=cosine",
        "optimizer/lerning_rate=cosine: no such group; did you mean optimizer/learning_rate? "
        + GROUPS,
    ),
    # Values of the wrong type.
    ("seed=abc", "seed=abc: give a whole number"),
    ("seed=1.5", "seed=1.5: give a whole number"),
    ("seed=null", "seed=null: give a whole number"),
    ("optimizer.learning_rate=abc", "optimizer.learning_rate=abc: give a number"),
    ("model.hidden=3", "model.hidden=3: give a list, such as [1, 2]"),
    ("model.hidden=[3,a]", "model.hidden[1]=a: give a whole number"),
    ("tracking.tensorboard=yes", "tracking.tensorboard=yes: give true or false"),
    ("tracking.log_every=5", "tracking.log_every=5: give a mapping of {steps, epochs, seconds}"),
    ("run.dir=5", "run.dir=5: give text, in quotes: 'run.dir=\"5\"'"),
    ("run.max_time=15", f"run.max_time=15: give {DURATION}"),
    ("sweep.trial_timeout=15", f"sweep.trial_timeout=15: give {DURATION}"),
    ("engine.compile=xl", "engine.compile=xl: did you mean xla? known: auto, graph, xla, eager"),
    (
        "checkpoint.numbering=stp",
        "checkpoint.numbering=stp: did you mean step? give step or epoch or count or a whole number",
    ),
    # Values that are impossible.
    ("seed=-1", "seed=-1: give a number from 0 to 2147483647"),
    ("name=a/b", "name=a/b: give a plain folder name, such as digits_mlp"),
    ("name=latest", "name=latest: give a plain folder name, such as digits_mlp"),
    ("'name=\"a[b\"'", "name=a[b: give a plain folder name, such as digits_mlp"),
    ("checkpoint.max_to_keep=-1", "checkpoint.max_to_keep=-1: give a count, or null to keep all"),
    ("checkpoint.prefix=a/b", "checkpoint.prefix=a/b: contains /; give a plain name, such as ckpt"),
    (
        "'checkpoint.prefix=\"a[b\"'",
        "checkpoint.prefix=a[b: contains [; give a plain name, such as ckpt",
    ),
    ("data.batch_size=0", "data.batch_size=0: give a count of at least 1"),
    ("data.split.test=2", "data.split.test=2: give a fraction from 0 up to, not including, 1"),
    (
        "+checkpoint.every.seconds=600",
        "checkpoint.every.seconds=600: given together with steps=500; set all but one to null",
    ),
    (
        "checkpoint.every.seconds=600",
        "checkpoint.every.seconds=600: given together with steps=500; set all but one to null",
    ),
    (
        "phases.train.evaluate.every.steps=100",
        "phases.train.evaluate.every.epochs=1: given together with steps=100; set all but one to null",
    ),
    (
        "sweep.trial_timeout=0s",
        "sweep.trial_timeout=0s: leaves a trial no time; give some, or null for no limit",
    ),
    ("checkpoint.every.steps=0", "checkpoint.every.steps=0: give a number above 0"),
    (
        "checkpoint.keys={model:modle}",
        "checkpoint.keys.model=modle: no such part; did you mean model? known: model, optimizer, "
        "progress, step",
    ),
    # Values that do not go together.
    (
        "checkpoint.best.metric=validation/acc",
        "checkpoint.best.metric=validation/acc: no train phase evaluates it; did you mean "
        f"validation/accuracy? {MEASURED}; or set checkpoint.best=null",
    ),
    ("checkpoint.best=null", f"phases.evaluate.restore=best: {NO_BEST}"),
    (
        "phases.evaluate.data=tst",
        "phases.evaluate.data=tst: no such split; did you mean test? known: train, validation, test",
    ),
    (
        "phases.train.evaluate.data=valid",
        "phases.train.evaluate.data=valid: no such split; did you mean validation? known: train, "
        "validation, test",
    ),
    (
        "callbacks=early_stopping callbacks.early_stopping.metric=validation/los",
        "callbacks.early_stopping.metric=validation/los: no train phase writes it; did you mean "
        "validation/loss? known: train/loss, train/accuracy, validation/loss, validation/accuracy",
    ),
    (
        "~phases.train ~phases.evaluate",
        "phases={}: there is nothing to do; choose phases=train_evaluate",
    ),
    # Names of things to build.
    ("model._target_=mlp", "model._target_=mlp: give a dotted name, such as package.module.Name"),
    (
        "model._target_=models.mlp",
        "model._target_=models.mlp: models.mlp is a module; name a class or a function of it",
    ),
    (
        "model._target_=models.mlp.mpl",
        "model._target_=models.mlp.mpl: models.mlp has no 'mpl'; did you mean mlp? known: mlp",
    ),
    (
        "model._target_=models.nlp.mlp",
        "model._target_=models.nlp.mlp: models has no module 'nlp'; did you mean mlp? known: cnn, "
        "gpt, linear, lstm, mlp, resnet",
    ),
    (
        "model=own model._target_=modles.mlp.mlp",
        "model._target_=modles.mlp.mlp: there is no module 'modles'; did you mean models? is it "
        "installed, or in this folder?",
    ),
    ("model=own", "model._target_: is mandatory; add model._target_=... to the command"),
    (
        "phases.evaluate._target_=os.system",
        "phases.evaluate._target_=os.system: is not allowed; allow it with --allow os.system, or in "
        f'pyproject.toml: [tool.runner] allow = ["os.system"]; {IS_RUN}',
    ),
    (
        "--allow os.system phases.evaluate._target_=os.system",
        "phases.evaluate._target_=os.system: is no runner.phases.base.Phase; name a dataclass made from it",
    ),
    (
        "model._target_=keras.src.models.Sequential",
        "model._target_=keras.src.models.Sequential: is not allowed; did you mean keras.Sequential? if "
        "not, allow it with --allow keras.src.models.Sequential, or in pyproject.toml: [tool.runner] "
        f'allow = ["keras.src.models.Sequential"]; {IS_RUN}',
    ),
    *(
        (
            command,
            f"--allow {one}: give a dotted name, such as my_package.MyModel, or a variable of the "
            "environment as oc.env:NAME",
        )
        for command, one in [
            ("--allow=Net seed=1", "Net"),
            ("seed=1 --allow", ""),
            ("--allow oc.env: seed=1", "oc.env:"),
            ("--allow oc.env:1x seed=1", "oc.env:1x"),
            ("resume RUN --allow=env:X", "env:X"),
        ]
    ),
    (
        "'+optimizer.name={class_name: x, config: {}}'",
        "optimizer.name={class_name: x, config: {}}: is how Keras writes objects down, which would import "
        "what it names; give a _target_ instead",
    ),
    (
        "'+phases.more={data: test}'",
        "phases.more={data: test}: has no _target_; name a Phase, or drop the entry with phases.more=null",
    ),
    (
        "experiment=pydoc_gpt phases=evaluate",
        "phases.train={until: {steps: 400, epochs: null}, evaluate: {every: {steps: 100, epochs: null}}}: "
        "has no _target_; name a Phase, or drop the entry with phases.train=null",
    ),
    # What Hydra cannot read or resolve.
    (
        "checkpoint.prefix=a[b",
        "checkpoint.prefix=a[b: Hydra cannot read this (mismatched input '[' expecting <EOF>); quote special "
        "characters: 'checkpoint.prefix=\"a[b\"'",
    ),
    (
        "-m 'model.dropout=intervall(0,0.5)'",
        "model.dropout=intervall(0,0.5): Hydra has no function intervall; did you mean interval? "
        + FUNCTIONS,
    ),
    (
        "-m '+model.note=int(lamda(3))'",
        f"+model.note=int(lamda(3)): Hydra has no function lamda; {FUNCTIONS}",
    ),
    (
        "-m 'model.dropout=interval(a,0.5)'",
        "model.dropout=interval(a,0.5): Hydra cannot read this (TypeError while evaluating "
        "'interval(a,0.5)': mismatch type argument start: str is incompatible with Union[int, float])",
    ),
    (
        "-m resume 815b679b65",
        "resume: no key=value; a command is the first word, and -m does not go with it",
    ),
    (
        "seed=1 resume",
        "resume: no key=value; a command is the first word, and -m does not go with it",
    ),
    ("'seed=${nope}'", "seed=${nope}: Interpolation key 'nope' not found"),
    ("'model.dropout=${model}'", "model.dropout=${model}: Interpolation to parent node detected"),
    (
        "'seed=${oc.env:NO_SUCH_VARIABLE}'",
        "seed=${oc.env:NO_SUCH_VARIABLE}: KeyError raised while resolving interpolation: "
        "\"Environment variable 'NO_SUCH_VARIABLE' not found\"",
    ),
    (
        "seed=1,2",
        "seed=1,2: several values; try them all with runner -m, or give one text as 'seed=\"1,2\"'",
    ),
    (
        "'seed=range(3)'",
        "seed=range(3): several values; try them all with runner -m, or give one text as 'seed=\"range(3)\"'",
    ),
    # What is no key=value at all.
    (
        "seed",
        "seed: no such command, and no key=value; known: resume, evaluate, reproduce, ls, show, checkpoints",
    ),
    ("--hlep", f"--hlep: no such option; did you mean --help? {OPTIONS}"),
    ("-m seed=1,2 --alow=x.y", f"--alow=x.y: no such option; did you mean --allow? {OPTIONS}"),
    ("--config-name nope", f"nope: there is no nope.yaml in {config_directory()}"),
    ("--config-path nope", "nope: there is no such directory of configs"),
    (
        "--config-path outputs/nix/.hydra --config-name config",
        "outputs/nix/.hydra: there is no such directory of configs",
    ),
]


@pytest.mark.parametrize(("command", "message"), BAD, ids=[command for command, _ in BAD])
def test_the_message(cli: Command, workdir: Path, command: str, message: str) -> None:
    done = cli(*shlex.split(command))
    assert (done.code, done.out, done.err) == (2, "", f"runner: {message}\n")
    assert list(workdir.iterdir()) == []


@pytest.mark.parametrize("command", ["--version", "-m seed=1 --version"])
def test_the_version_is_the_runners(cli: Command, command: str) -> None:
    done = cli(*command.split())
    assert (done.code, done.out) == (0, f"runner {metadata.version('tf-runner')}\n")


def test_all_problems_are_told_at_once(cli: Command, workdir: Path) -> None:
    done = cli("seed=x", "+sed=1", "data.batch_size=0", "model.hidden=[a]", "~model.shape")
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines() == [
        "runner: 5 problems",
        f"  sed=1: no such key; did you mean seed? {ROOT}",
        "  model.shape: is missing; models.mlp.mlp needs it",
        "  model.hidden[0]=a: give a whole number",
        "  data.batch_size=0: give a count of at least 1",
        "  seed=x: give a whole number",
    ]
    assert list(workdir.iterdir()) == []


def test_all_values_that_do_not_go_together_are_told_at_once(cli: Command) -> None:
    done = cli("seed=-1", "name=.x", "checkpoint.best=null", "checkpoint.restore=best")
    assert done.err.splitlines() == [
        "runner: 4 problems",
        "  name=.x: give a plain folder name, such as digits_mlp",
        "  seed=-1: give a number from 0 to 2147483647",
        f"  checkpoint.restore=best: {NO_BEST}",
        f"  phases.evaluate.restore=best: {NO_BEST}",
    ]


def test_every_mandatory_value_is_told(cli: Command) -> None:
    done = cli("data=arrays", "data.y=y.npy")
    assert done.code == 2
    assert done.err.splitlines() == [
        "runner: 3 problems",
        "  data.x: is mandatory; add data.x=... to the command",
        "  data.shape: is mandatory; add data.shape=... to the command",
        "  data.outputs: is mandatory; add data.outputs=... to the command",
    ]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "data=arrays data.x=x.npy data.y=y.npy data.shape=[3] data.outputs=2",
            "data.x=x.npy: there is no file ",
        ),
        (
            "checkpoint.restore=nowhere/ckpt-3",
            "checkpoint.restore=nowhere/ckpt-3: there is no file nowhere/ckpt-3.index; known: auto, none",
        ),
        (
            "phases.evaluate.restore=bset",
            "phases.evaluate.restore=bset: there is no file bset.index; did you mean best? known: auto",
        ),
        (
            "phases=evaluate",
            "checkpoint.restore=auto: no phase trains, and a new run has no checkpoint",
        ),
        *(
            (
                f"run.dir=here {command}",
                f"phases.evaluate.restore={which}: no phase before it takes a step{idle}, and "
                "here/checkpoints holds no checkpoint; give null to measure the state as it is\n",
            )
            for command, which, idle in [
                ("phases.train.until.epochs=0", "best", " (phases.train.until.epochs=0)"),
                ("phases.train.until.steps=0", "best", " (phases.train.until.steps=0)"),
                (
                    "phases.train.until.steps=0 phases.evaluate.restore=latest",
                    "latest",
                    " (phases.train.until.steps=0)",
                ),
                (
                    "'phases.train.until={epochs: 0, steps: 5}' phases.evaluate.restore=5",
                    "5",
                    " (phases.train.until.epochs=0)",
                ),
                ("phases=evaluate phases.evaluate.restore=best", "best", ""),
            ]
        ),
    ],
)
def test_what_is_not_on_the_disk(cli: Command, workdir: Path, command: str, message: str) -> None:
    done = cli(*shlex.split(command))
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"runner: {message}")
    assert done.err.count("\n") == 1
    assert not list(workdir.rglob("run.json"))


@pytest.mark.parametrize("overrides", ["seed=1,2 sed=3", "sed=1,2", "seed=1,2 +model.hiden=3"])
def test_a_sweep_with_a_key_that_there_is_not(cli: Command, workdir: Path, overrides: str) -> None:
    done = cli("-m", *overrides.split())
    assert done.code == 2
    assert "did you mean" in done.err
    assert "known: " in done.err
    assert not list(workdir.rglob("run.json"))


def test_the_message_of_a_sweep_is_that_of_a_single_run(cli: Command) -> None:
    assert cli("-m", "seed=1,2", "sed=3").err == cli("sed=3").err


MINE = {
    "model/mine.yaml": "_target_: models.mlp.mlp\nshape: ${data.shape}\noutputs: 10\n",
    "flavour/sweet.yaml": "# @package _global_\nseed: 5\n",
    "experiment/wrong_group.yaml": "# @package _global_\ndefaults:\n  - override /modle: cnn\nname: x\n",
    "experiment/wrong_key.yaml": "# @package _global_\nname: x\nsed: 3\n",
    "experiment/no_yaml.yaml": "# @package _global_\nname: x\nseed: [1\n",
}


@pytest.fixture
def mine(workdir: Path) -> Path:
    """A folder of configs of the user's own."""
    for name, text in MINE.items():
        (workdir / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (workdir / "mine" / name).write_text(text)
    return workdir / "mine"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        # The config is the one that was being composed: with the user's choices in it.
        (
            "model=mine model.hiden=[3]",
            f"model.hiden=[3]: models.mlp.mlp has no such argument; did you mean hidden? {NET}",
        ),
        (
            "model=mine model.hidden=[3]",
            "model.hidden=[3]: the config has no such key yet; add it with +model.hidden=[3]",
        ),
        (
            "model=mien",
            "model=mien: there is no model/mien.yaml; did you mean mine? known: application, cnn, gpt, "
            "linear, lstm, mine, mlp, own, resnet",
        ),
        (
            "flavour=sweet",
            "flavour=sweet: the config has no such group yet; add it with +flavour=sweet",
        ),
        ("+flavour=sour", "flavour=sour: there is no flavour/sour.yaml; known: sweet"),
        ("+flavour=sweet sed=3", f"sed=3: no such key; did you mean seed? {ROOT}"),
        (
            "experiment=wrong_group",
            "experiment/wrong_group.yaml: override modle: no such group; did you mean model? "
            + GROUPS,
        ),
        ("experiment=wrong_key", f"sed=3: no such key; did you mean seed? {ROOT}"),
    ],
)
def test_with_configs_of_ones_own(cli: Command, mine: Path, command: str, message: str) -> None:
    done = cli("--config-dir", "mine", *shlex.split(command))
    assert (done.code, done.out, done.err) == (2, "", f"runner: {message}\n")


def test_a_file_that_is_not_yaml(cli: Command, mine: Path) -> None:
    done = cli("--config-dir", "mine", "experiment=no_yaml")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        f"runner: {mine / 'experiment/no_yaml.yaml'}, line 4: expected ',' or ']', but got '<stream end>'\n"
    )


def test_a_config_of_another_name(cli: Command, mine: Path, workdir: Path) -> None:
    (mine / "own.yaml").write_text("defaults: [config, _self_]\nname: own\n")
    done = cli("--config-dir", "mine", "--config-name", "own", "nmae=x")
    assert done.err == f"runner: nmae=x: no such key; did you mean name? {ROOT}\n"


def test_neither_tensorflow_nor_a_traceback(workdir: Path, process: Callable[..., Any]) -> None:
    # Stand in front of the real ones, and tell who imports them; keras imports tensorflow.
    for name in ("tensorflow", "sklearn"):
        (workdir / f"{name}.py").write_text(f"raise SystemExit('{name} was imported')")
    done = process("seed=-1")
    assert (done.code, done.out) == (2, "")
    assert done.err == "runner: seed=-1: give a number from 0 to 2147483647\n"
    shown = process("seed=-1", RUNNER_TRACEBACK="1")
    assert (shown.code, shown.out) == (2, "")
    assert shown.err.startswith("Traceback (most recent call last):\n")
    assert shown.err.endswith("ConfigError: seed=-1: give a number from 0 to 2147483647\n")


def test_no_package_beside_the_runners_own_is_imported_for_a_bad_config(
    workdir: Path, process: Callable[..., Any]
) -> None:
    done = process("model=resnt", PYTHONPROFILEIMPORTTIME="1")
    imported = {line.rpartition("|")[2].strip() for line in done.err.splitlines()}
    assert done.code == 2
    assert {"runner.config.typed", "hydra"} <= imported
    assert not {"tensorflow", "keras", "sklearn", "scipy", "jax", "torch", "pandas"} & imported
