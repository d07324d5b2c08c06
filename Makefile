# Everything a checkout needs: Python 3.11 to 3.13, make and git. `make` alone lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The rivals in `make bench` are as large as all the rest, and stay out of the way.
BENCH_VENV := .venv-bench
# So is Ray, in `make test-cluster`.
CLUSTER_VENV := .venv-cluster
# What is pinned for an environment, and how large that is.
LOCK := requirements.lock
SIZE := 2.5 GB, 600 MB of it TensorFlow's download
# Processes pytest may use; each imports TensorFlow once.
TEST_JOBS ?= 2
# Overrides for `make run`, for example ARGS="optimizer=sgd seed=1".
ARGS ?=
TEST_ARGS ?=
# Options of the benchmarks, for example BENCH_ARGS="--rounds 3 --only mlp save".
BENCH_ARGS ?=
# `make lock LOCK_ARGS=--upgrade` moves every pin to the newest that fits; plain `make lock` moves as few as it can.
LOCK_ARGS ?=

PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
# Wheels only, but for the one package that is published as source. An isolated build would fetch its tools unpinned.
FROM_LOCK := --require-hashes --only-binary=:all: --no-binary=antlr4-python3-runtime --use-pep517 --no-build-isolation
COMPILE := $(BIN)/uv --no-config pip compile --universal --python-version 3.11 --fork-strategy fewest \
	--generate-hashes --custom-compile-command "make lock" --quiet $(LOCK_ARGS)

.DELETE_ON_ERROR:
.PHONY: help run test test-cluster chaos bench lint format types lock wheel clean slurm

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/installed ## run the main job; ARGS="..." are config overrides
	@$(BIN)/python -m runner $(ARGS)

test: lint types ## lint, types and every test; TEST_ARGS="..." go to pytest
	$(BIN)/python -m pytest -n $(TEST_JOBS) --dist worksteal $(TEST_ARGS)

test-cluster: slurm ## sweep on a Ray and a Slurm of two nodes on this machine; Linux, as root, about 15 minutes
	@$(MAKE) --no-print-directory VENV=$(CLUSTER_VENV) LOCK=requirements-cluster.lock SIZE="2.9 GB" $(CLUSTER_VENV)/installed
	$(CLUSTER_VENV)/bin/python -m pytest --cluster $(TEST_ARGS) tests/cluster

chaos: $(VENV)/installed ## kill, fail and damage runs in every way there is; Linux, about 25 minutes
	$(BIN)/python -m pytest --chaos --chaos-report chaos.md -n $(TEST_JOBS) --dist worksteal $(TEST_ARGS) tests/chaos

bench: $(BENCH_VENV)/rivals ## compare with what people would use instead; 9 GB, about an hour; BENCH_ARGS="..." are options
	$(BENCH_VENV)/bin/python -m tests.benchmarks $(BENCH_ARGS)

lint: $(VENV)/installed ## check style and formatting
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

format: $(VENV)/installed ## format, and mend what can be mended
	$(BIN)/python -m ruff check --fix-only .
	$(BIN)/python -m ruff format .

types: $(VENV)/installed ## check types
	$(BIN)/python -m mypy

lock: | $(BIN)/uv ## pin what pyproject.toml asks for; LOCK_ARGS=--upgrade for newer pins
	$(COMPILE) pyproject.toml --extra dev --extra tensorboard --group build --output-file requirements.lock
	$(COMPILE) pyproject.toml --all-extras --group build --output-file requirements-cluster.lock
	$(COMPILE) --group build --constraints requirements.lock --no-annotate --output-file requirements-build.lock

wheel: $(VENV)/installed ## build the source archive and, from it, the wheel into dist/
	$(BIN)/python -m build --no-isolation

clean: ## remove what make and the tools made, but never outputs/
	rm -rf $(VENV) $(BENCH_VENV) $(CLUSTER_VENV) build dist .mypy_cache .pytest_cache .ruff_cache
	find conf models runner tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Set-up, in three steps that are each redone only when what they stand on has changed.

$(VENV)/created:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "$(PYTHON) is not Python 3.11, 3.12 or 3.13: name one that is, as in: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) has no venv: install it (Debian and Ubuntu: apt install python3-venv), or name another with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/locked: $(VENV)/created requirements-build.lock $(LOCK)
	@echo "Installing what $(LOCK) pins into $(VENV): $(SIZE)"
	@$(PIP) install --quiet $(FROM_LOCK) --requirement requirements-build.lock
	@$(PIP) install $(FROM_LOCK) --requirement $(LOCK)
	@touch $@

$(VENV)/installed: $(VENV)/locked pyproject.toml
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# Only what makes a lock, and only if it is not there: pyproject.toml may be ahead of the lock just now.
$(BIN)/uv:
	$(MAKE) $(VENV)/locked

# The same set-up in another place, and the rivals on top of it.
$(BENCH_VENV)/rivals: requirements-build.lock requirements.lock pyproject.toml tests/benchmarks/requirements.txt
	@$(MAKE) --no-print-directory VENV=$(BENCH_VENV) $(BENCH_VENV)/installed
	@echo "Installing what tests/benchmarks/requirements.txt pins: 6 GB, most of it what PyTorch brings for GPUs"
	@$(BENCH_VENV)/bin/python -m pip --disable-pip-version-check --no-input install \
		--no-deps --only-binary=:all: --requirement tests/benchmarks/requirements.txt
	@touch $@

# Debian's and Ubuntu's package, 14 MB; its daemons run for the tests alone, with a configuration of their own.
slurm:
	@command -v slurmctld slurmd munged >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
		apt-get update && apt-get install --yes --no-install-recommends slurm-wlm munge; } || \
		{ echo "Slurm is not installed: as root, apt-get install slurm-wlm munge" >&2; exit 1; }
	@[ "$$(id -u)" = 0 ] || { echo "make test-cluster: Slurm's daemons need root" >&2; exit 1; }
