"""What the server of `processes` imports, so that its children need not: all that a run uses."""

# ruff: noqa: F401
import sklearn.datasets

import runner.cli
import runner.commands
import runner.config.hydra
import runner.experiment
import runner.phases
import runner.report
import runner.worker
import tests.checkpoint.conftest
