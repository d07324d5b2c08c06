"""Configs that somebody sends who means harm, as changes to a saved one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

BLOCKLIST_LETS_THROUGH = """
    setuptools._distutils.spawn.spawn keras.config.enable_unsafe_deserialization
    tensorflow.load_op_library tensorflow.io.write_file tf.load_op_library tf.io.write_file
    builtins.open os.system importlib.import_module
"""
"""What Hydra's own `instantiate` calls, or imports before it refuses."""

PYTHON = """
    builtins.eval builtins.exec builtins.compile builtins.__import__ builtins.getattr builtins.print
    os.popen os.execv os.execvp os.spawnl os.posix_spawn os.fork os.remove os.unlink os.rename
    os.replace os.rmdir os.mkdir os.makedirs os.symlink os.link os.chmod os.putenv os.kill os._exit
    os.abort os.open os.truncate posix.system posix.open subprocess.run subprocess.call
    subprocess.Popen subprocess.check_call subprocess.check_output subprocess.getoutput
    subprocess.getstatusoutput shutil.rmtree shutil.copy shutil.move shutil.unpack_archive
    pathlib.Path pathlib.Path.write_text pathlib.Path.unlink io.open io.FileIO codecs.open
    tempfile.mkdtemp tempfile.NamedTemporaryFile pickle.load pickle.loads pickle.Unpickler
    marshal.loads shelve.open dbm.open sqlite3.connect ctypes.CDLL ctypes.cdll.LoadLibrary
    ctypes.PyDLL runpy.run_path runpy.run_module code.interact code.InteractiveInterpreter
    codeop.compile_command pty.spawn webbrowser.open socket.socket urllib.request.urlopen
    urllib.request.urlretrieve http.server.test smtplib.SMTP ftplib.FTP timeit.timeit cProfile.run
    pdb.run trace.Trace logging.FileHandler logging.config.fileConfig logging.config.dictConfig
    multiprocessing.Process threading.Thread concurrent.futures.ProcessPoolExecutor asyncio.run
    atexit.register sys.exit sys.setrecursionlimit sys.addaudithook sys.settrace signal.signal
    site.addsitedir venv.create ensurepip.bootstrap pip.main zipimport.zipimporter importlib.reload
    importlib.util.spec_from_file_location importlib.machinery.SourceFileLoader pkgutil.resolve_name
    functools.partial functools.reduce operator.methodcaller operator.attrgetter types.FunctionType
    inspect.getsource antigravity.webbrowser this.s gc.collect __main__.anything
"""

LIBRARIES = """
    keras.layers.Lambda keras.layers.TFSMLayer keras.layers.TorchModuleWrapper keras.layers.JaxLayer
    keras.layers.FlaxLayer keras.layers.TextVectorization keras.layers.StringLookup
    keras.layers.deserialize keras.layers.Layer keras.losses.get keras.losses.deserialize
    keras.metrics.deserialize keras.optimizers.deserialize keras.saving.load_model
    keras.saving.load_weights keras.saving.deserialize_keras_object keras.models.load_model
    keras.models.model_from_json keras.models.clone_model keras.models.Model keras.Model
    keras.utils.get_file keras.utils.image_dataset_from_directory keras.utils.set_random_seed
    keras.utils.CustomObjectScope keras.config.set_floatx keras.config.set_backend
    keras.callbacks.LambdaCallback keras.callbacks.ModelCheckpoint keras.callbacks.CSVLogger
    keras.datasets.mnist.load_data keras.src.layers.Dense keras.src.models.Sequential
    keras.src.optimizers.adam.Adam keras.layers.Dense.from_config keras.Sequential.load_weights
    keras.applications.resnet.ResNet50 keras.optimizers.legacy.Adam keras.ops.map
    keras.Sequential.__init__ keras.layers.Dense.__init__.__globals__ keras.layers.core.Dense
    tensorflow.keras.models.load_model tensorflow.keras.Sequential tensorflow.saved_model.load
    tensorflow.load_library tensorflow.py_function tensorflow.numpy_function tensorflow.function
    tensorflow.io.gfile.remove tensorflow.io.read_file tensorflow.Module
    tensorflow.config.run_functions_eagerly
    tensorflow.profiler.experimental.start tensorflow.data.Dataset.from_generator
    tensorflow.train.Checkpoint tensorflow.summary.create_file_writer numpy.load numpy.save
    numpy.fromfile numpy.memmap numpy.genfromtxt numpy.ctypeslib.load_library joblib.load
    sklearn.datasets.load_files sklearn.datasets.fetch_openml hydra.utils.instantiate hydra.utils.call
    hydra.utils.get_method hydra.utils.get_class hydra.main hydra._internal.utils._locate
    omegaconf.OmegaConf.load omegaconf.OmegaConf.save omegaconf.OmegaConf.register_new_resolver
    yaml.load yaml.unsafe_load rich.console.Console pytest.main
"""

OURS = """
    runner.run runner.resume runner.evaluate runner.api.run runner.cli.main runner.cli.run_command
    runner.files.remove runner.files.write_atomically runner.rundir.RunDirectory runner.lock.Lock
    runner.targets.load runner.targets.allowing runner.targets.Target runner.targets.target.build
    runner.targets.allowed.allowing runner.choices.Choices runner.worker.Worker runner.rows.Rows
    runner.checkpoint.staging.Staging runner.data.arrays.Arrays runner.data.npy.ArrayFile
    runner.data.validate runner.phases.train.Train runner.phases.train._Loop runner.tasks.spec.Task
    models.mlp.keras models.mlp.keras.saving.load_model models.evil.net models.__init__.net
    models.mlp models mlp evil.payload evil.inner.payload evil
"""
"""The last ones stand in the working directory, and write a file as soon as they are imported."""

MALFORMED: list[Any] = [
    *("", " ", ".", "..", "...", ".os.system", "os.system.", "os..system", "os", "os:system"),
    *("os.system ", " keras.Sequential", "keras.Sequential\n", "keras.layers.*", "keras.*", "*"),
    *("k\u0435ras.Sequential", "keras\u2024Sequential", "keras.Sequential\x00", "KERAS.Sequential"),
    *("keras/Sequential", "../evil.payload", "/etc/passwd", "file:///etc/passwd", "evil.py"),
    *("lambda: 0", "(1).__class__", "os.system('x')", "models.mlp.mlp()", "a." * 5000 + "b"),
    *(0, 1.5, True, None, ["os.system"], {"_target_": "os.system"}, [], {}),
]

PLACES = """
    model model.activation optimizer optimizer.learning_rate optimizer.name task task.loss
    task.metrics.accuracy task.metrics.more data data.split phases.train phases.train.until
    phases.more callbacks.stop_on_nan callbacks.more checkpoint checkpoint.every checkpoint.best engine
    tracking run model.hidden
"""
"""Where a saved config has, or could have, something to build."""

RESOLVERS = [
    *("${oc.env:HOME}", "${oc.env:HOME,x}", "${oc.env:${name}}", "${oc.decode:'[1]'}", "${boom:}"),
    *(
        "${oc.create:{a: 1}}",
        "${oc.select:name}",
        "${oc.dict.keys:model}",
        "${oc.dict.values:model}",
    ),
    *(
        "${oc.deprecated:name}",
        "${hydra:runtime.cwd}",
        "${now:%Y}",
        "${env:HOME}",
        "${checked_run_dir:}",
    ),
    *(
        "${run_id:x}",
        "${run_id:${boom:}}",
        "x-${boom:}-y",
        "${name}${boom:}",
        "$${boom:}",
        "${ boom:}",
    ),
    *(
        "\\${boom:}",
        "\\\\${boom:}",
        "${boom:a,b}",
        "${${name}:}",
        "${${boom:}}",
        "${boom :}",
        "${\nboom:}",
    ),
    *(
        "${",
        "${}",
        "${name",
        "${name}}${",
        "${boom:'}'}",
        "${.boom:}",
        "${..${boom:}}",
        "${a[${boom:}]}",
    ),
]
"""What runs code, or could, when a config is resolved; and what hardly reads as an interpolation."""

ENVIRONMENT = [
    *("${oc.env:HOME}", "${oc.env:HOME,x}", "${oc.env:${name}}", "${oc.env:DATA${name}}"),
    *("${oc.env:DATA}${oc.env:HOME}", "${oc.env:DATA}${boom:}", "${oc.env:DATA,${oc.env:HOME}}"),
    *(
        "${oc.env:DATA,${boom:}}",
        "${oc.env:DATA,${name}}",
        "${oc.env:DATA,'x'}",
        "${oc.env:DATA,{}}",
    ),
    *("${oc.env:DATA,[x]}", "${oc.env:DATA,x,y}", "${oc.env:DATA,}", "${oc.env:DATA,\\}"),
    *("${oc.env:DATA,$}{boom:}", "${oc.env:DATA:x}", "${oc.env:DATA:-${boom:}}", "${oc.env: DATA}"),
    *("${ oc.env:DATA}", "${oc.env:DATA\n}", "${oc.env:data}", "${oc.env:DATA.x}", "${oc.env:}"),
    *("${oc.decode:'${oc.env:DATA}'}", "${oc.decode:'[1]'}", "${oc.decode:${oc.env:HOME}}"),
    *("${oc.decode:${oc.decode:${oc.env:DATA}}}", "${oc.decode:${oc.env:DATA}${boom:}}"),
    *(
        "${oc.decode:${oc.env:DATA,${boom:}}}",
        "${oc.decode:${name}}",
        "${oc.decode:${oc.env:DATA},x}",
    ),
    *(
        "${boom:${oc.env:DATA}}",
        "${${oc.env:DATA}}",
        "${${oc.env:DATA}:}",
        "${model.${oc.env:DATA}}",
    ),
    *(
        "${oc.select:${oc.env:DATA}}",
        "${env:DATA}",
        "${OC.ENV:DATA}",
        "${oc.env:DATA",
        "${oc.env:DATA}}${",
    ),
]
"""What stays refused where ``oc.env:DATA`` is allowed."""

RUNS = [
    *({"dir": "/etc/runner"}, {"dir": "../outside"}, {"dir": "a/../../outside"}, {"fresh": True}),
    *({"dir": "~/x/../../y"}, 5, "x", [], None),
]


def names() -> list[Any]:
    """What a `_target_` must not be."""
    texts = (BLOCKLIST_LETS_THROUGH, PYTHON, LIBRARIES, OURS)
    return [*(name for text in texts for name in text.split()), *MALFORMED]


def changes() -> Iterator[tuple[str, dict[str, Any]]]:
    """What to set in a saved config, by dotted key; with a name for the case."""
    for name in [*BLOCKLIST_LETS_THROUGH.split(), *MALFORMED]:
        yield f"model={str(name)[:40]!r}", {"model": {"_target_": name}}
    for place in PLACES.split():
        for name in ("evil.payload", "os.system"):
            yield f"{place}={name}", {place: {"_target_": name}}
    yield from _interpolated()
    yield from _special_arguments()
    for number, text in enumerate(RESOLVERS):
        yield f"resolver {number} {text!r}", {"model.activation": text}
    for place in (
        "name",
        "run.dir",
        "checkpoint.directory",
        "seed",
        "model._target_",
        "data.shape",
    ):
        yield f"resolver at {place}", {place: "${boom:}"}
    yield "resolver in a key", {"callbacks": {"${boom:}": None}}
    yield "text that becomes a resolver", {"name": "$", "model.activation": "${name}{boom:}"}
    yield from _hydra()
    yield from _paths()
    yield from _bombs()


def _interpolated() -> Iterator[tuple[str, dict[str, Any]]]:
    yield "target by name", {"name": "evil.payload", "model": {"_target_": "${name}"}}
    yield "target in parts", {"name": "evil", "model": {"_target_": "${name}.payload"}}
    yield "whole node", {"task.metrics.a": {"_target_": "os.system"}, "model": "${task.metrics.a}"}
    yield "relative", {"model": {"_target_": "${.x}", "x": "os.system"}}
    yield (
        "relative above",
        {"optimizer.learning_rate": {"_target_": "${..name}"}, "optimizer.name": "os.system"},
    )


def _special_arguments() -> Iterator[tuple[str, dict[str, Any]]]:
    for key in ("_partial_", "_args_", "_convert_", "_recursive_"):
        yield key, {f"model.{key}": True}
        yield f"{key} of a phase", {f"phases.train.{key}": True}
    keras = {"class_name": "payload", "config": {}, "module": "evil", "registered_name": None}
    for place in ("optimizer.name", "optimizer.learning_rate", "task.loss.reduction"):
        yield f"Keras's own form at {place}", {place: keras}
        yield f"Keras's own form deep at {place}", {place: [{"x": [keras]}]}
    function = {"class_name": "function", "config": "payload", "module": "evil"}
    yield "a function in Keras's own form", {"optimizer.name": function}


def _hydra() -> Iterator[tuple[str, dict[str, Any]]]:
    callbacks = {"callbacks": {"x": {"_target_": "evil.payload"}}}
    yield "callbacks of Hydra", {"hydra": callbacks}
    for key in ("launcher", "sweeper", "job_logging", "hydra_logging", "help"):
        yield f"hydra.{key}", {f"hydra.{key}": {"_target_": "evil.payload"}}
    yield "search path", {"hydra.searchpath": ["pkg://evil"]}
    yield "run directory of Hydra", {"hydra.run.dir": "/etc/runner"}
    yield "environment", {"hydra.job.env_set": {"PATH": "."}}
    yield "nothing of Hydra", {"hydra": None}
    for number, entry in enumerate(
        [
            {"override hydra/launcher": "evil"},
            {"/hydra/callbacks": "evil"},
            {"model@hydra.callbacks": "mlp"},
            {"model@_global_.hydra.callbacks": "mlp"},
            {"optional hydra/sweeper": "evil"},
            {"model": "../../../../etc/hostname"},
            {"model": "/etc/hostname"},
            {"model": "${boom:}"},
            {"${boom:}": "mlp"},
        ]
    ):
        yield f"defaults {number}", {"defaults": [entry, "_self_"]}


def _paths() -> Iterator[tuple[str, dict[str, Any]]]:
    for name in ("../x", "..", ".", "/etc/x", "a/b", ".hidden", "latest", "a\nb", "a\x01b"):
        yield f"name {name!r}", {"name": name}
    for prefix in ("../ckpt", "/etc/ckpt", "a/b", "..", "", "checkpoint", "[a]"):
        yield f"prefix {prefix!r}", {"checkpoint.prefix": prefix}
    train = {"_target_": "runner.phases.Train", "data": "train", "until": {"steps": 1}}
    for phase in ("../../x", "/etc/x", "a/b", ".."):
        yield f"phase {phase!r}", {"phases": {phase: train}, "checkpoint.best": None}
    for key in ("../x", "a.b", "__class__.x", "save_counter", "a/b"):
        yield f"checkpoint key {key!r}", {"checkpoint.keys": {key: "model"}}
    for part in ("os.system", "__class__", "state.model", ""):
        yield f"part {part!r}", {"checkpoint.keys": {"model": part}}


def _bombs() -> Iterator[tuple[str, dict[str, Any]]]:
    texts: dict[str, Any] = {f"x{n}": f"${{x{n - 1}}}" * 10 for n in range(1, 15)}
    yield "a bomb of texts", {"x0": "0123456789", **texts}
    nodes = {f"x{n}": {str(m): f"${{x{n - 1}}}" for m in range(10)} for n in range(1, 15)}
    yield "a bomb of nodes", {"x0": {"a": 1}, **nodes}
    lists = {f"x{n}": [f"${{x{n - 1}}}"] * 10 for n in range(1, 15)}
    yield "a bomb of lists", {"x0": [1], **lists}
    yield "a chain", {f"x{n}": f"${{x{n + 1}}}" for n in range(2000)}
    yield "a circle", {"x0": "${x1}", "x1": "${x0}"}
    yield "itself", {"model": "${model}"}
    yield "what holds it", {"model.activation": "${model}"}
    nested: Any = 1
    for _ in range(60):
        nested = [nested]
    yield "deep", {"model.hidden": nested}
    yield "many", {"model.hidden": list(range(30_000))}
    yield "long", {"name": "x" * 2_000_000}


TEXTS = {
    "aliases": "\n".join(
        ["x0: &x0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
        + [f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]" for n in range(1, 15)]
    ),
    "aliases of mappings": "\n".join(
        ["x0: &x0 {a: 1, b: 2}"]
        + [f"x{n}: &x{n} {{a: *x{n - 1}, b: *x{n - 1}, c: *x{n - 1}}}" for n in range(1, 30)]
    ),
    "aliases of a long text": f"x: &x {'y' * 100_000}\nz: [{', '.join(['*x'] * 1000)}]",
    "aliases by merging": "\n".join(
        ["x0: &x0 {a: {b: 1}}"]
        + [f"x{n}: &x{n} {{<<: *x{n - 1}, c{n}: *x{n - 1}, d{n}: *x{n - 1}}}" for n in range(1, 40)]
    ),
    "an alias of what holds it": "x: &x [*x]",
    "an alias of nothing": "x: *y",
    "deep lists": "x: " + "[" * 5000 + "]" * 5000,
    "deep mappings": "x: " + "{a: " * 5000 + "1" + "}" * 5000,
    "an open list": "x: " + "[" * 100_000,
    "a call": "x: !!python/object/apply:os.system [id]",
    "a new object": "x: !!python/object/new:os.system [id]",
    "a name": "x: !!python/name:os.system",
    "a module": "x: !!python/module:evil",
    "a tag of its own": "x: !evil 1",
    "no text": "\x00\x01\x02",
    "no mapping": "[1, 2]",
    "a text": "hello",
    "two documents": "x: 1\n---\ny: 2",
    "the same key twice": "seed: 1\nseed: 2",
    "a key that is a list": "? [a]\n: 1",
    "nothing": "",
}
"""Files that are no saved config."""

_HYDRA, _MINE = "belongs to Hydra", "model/mine.yaml"
_GLOBAL = (
    "# @package _global_\nmodel: {_target_: models.mlp.mlp, shape: '${data.shape}', outputs: 10}\n"
)
FILES: dict[str, tuple[str, dict[str, str]]] = {
    "Hydra's own node": (_HYDRA, {"hydra/config.yaml": "callbacks: {x: {_target_: evil.payload}}"}),
    "a launcher": (_HYDRA, {"hydra/launcher/isolated.yaml": "_target_: evil.payload"}),
    "a package": (_HYDRA, {_MINE: "# @package hydra.callbacks.x\n_target_: evil.payload\n"}),
    "a package of all": (_HYDRA, {_MINE: f"{_GLOBAL}hydra: {{callbacks: {{x: 1}}}}\n"}),
    "a package below": (_HYDRA, {_MINE: "# @package _global_.hydra.callbacks\nx: 1\n"}),
    "defaults": (_HYDRA, {_MINE: "defaults: [{/model@hydra.callbacks: mlp}]\n"}),
    "an override": (_HYDRA, {_MINE: "defaults: [{override /hydra/launcher: basic}]\n"}),
    "a way out": (
        "stands outside of",
        {_MINE: "defaults: [../../outside]\n", "../outside.yaml": "_target_: models.mlp.mlp\n"},
    ),
    "a resolver": ("its own keys only", {_MINE: f"{_GLOBAL}name: '${{boom:}}'\n"}),
    "a target": ("is not allowed", {_MINE: "_target_: evil.payload\n"}),
    "a loader": ("is not allowed", {_MINE: "_target_: keras.saving.load_model\nfilepath: x\n"}),
    "aliases": ("aliases written out", {_MINE: TEXTS["aliases"]}),
    "a call": ("could not determine a constructor", {_MINE: TEXTS["a call"]}),
    "a run directory": (
        "lies outside of this folder",
        {"experiment/mine.yaml": f"{_GLOBAL}run: {{dir: ../made}}\n"},
    ),
    "a fresh run": (
        "would move a run aside",
        {"experiment/mine.yaml": f"{_GLOBAL}run: {{fresh: true}}\n"},
    ),
}
"""Why folders for `--config-dir`, of which `mine` is chosen, are refused; and what is in them."""
