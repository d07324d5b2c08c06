"""What ``runner --help`` shows."""

from __future__ import annotations

from runner.config.foreign import own_directory

_GROUPS = "$APP_CONFIG_GROUPS"
TEMPLATE = f"""\
Train and evaluate Keras models from a config.

  runner [overrides]              run or resume the experiment
  runner -m [overrides]           sweep: a run for every combination
  runner resume RUN [overrides]   go on from a run's own config, with values changed
  runner evaluate RUN             evaluate a saved run
  runner reproduce RUN            do a run afresh, and compare it with what came out then
  runner ls                       list the runs
  runner show RUN                 what ran, how far it got, what came out
  runner checkpoints RUN          list a run's checkpoints; --verify reads them all
  --allow my_package.MyModel      with any of the first five: a name that the config may give
  --allow oc.env:NAME             the same: a variable that a config from elsewhere may read

RUN is a directory or the start of an id. A group is chosen with group=name, a value is set with
key=value; a key that the config does not have yet is added with +key=value.

{_GROUPS}

See all of a config with --cfg job, and try one out with debug=smoke.
"""
"""For Hydra, which puts the groups in."""


def help_text() -> str:
    """What ``runner --help`` shows where nothing is added to the configs, in half of Hydra's time."""
    root = own_directory()
    folders = sorted({path.parent for path in root.rglob("*.yaml")} - {root})
    groups = [
        f"{folder.relative_to(root)}: {', '.join(sorted(path.stem for path in folder.glob('*.yaml')))}"
        for folder in folders
    ]
    return TEMPLATE.replace(_GROUPS, "\n".join(groups))
