# One obvious way to run things. CI runs the very same targets. Everything lands in this folder: .venv, .cache, runs.
.PHONY: help setup setup-dev demo test test-gpu quick mutate check docs format serve attack clean

PYTHON ?= python3.11
GPU_PYTHON ?= python3
RUN ?= runs/demo
VENV := .venv
BIN := $(VENV)/bin
# The only outside address in this repository: PyTorch's index of CPU wheels, used for torch alone and only where the
# index that pip is set up with has no CPU build.
TORCH_INDEX := https://download.pytorch.org/whl/cpu
TORCH := $(shell grep '^torch==' requirements/cpu.txt)
# What a change to pure code is tried with: no torch, no Ray, no browser is imported.
QUICK := tests/unit/verifier tests/unit/actors/workers/test_states.py tests/unit/trainers/rl/test_buffer.py \
	tests/unit/trainers/rl/test_curriculum.py tests/unit/trainers/algorithms/test_advantages.py \
	tests/unit/serving/http/test_admission.py
# Bytecode is compiled at first import, for what is imported only: a minute less than pip's compiling of everything.
PIP := $(BIN)/python -m pip --no-cache-dir --disable-pip-version-check --require-virtualenv
INSTALL := $(PIP) install --quiet --no-compile --no-deps

# Without compiled bytecode every Ray worker would compile torch and vLLM again.
unexport PYTHONDONTWRITEBYTECODE
export XDG_CACHE_HOME := $(CURDIR)/.cache
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1
export PLAYWRIGHT_SKIP_BROWSER_GC := 1

help:
	@echo "make setup   create .venv and install the pinned CPU environment"
	@echo "make demo    set up, check the machine, run the recipe tiny-cpu (tokenizer, training, RL, evaluation, report)"
	@echo "make test    set up, then run all tests"
	@echo "make test-gpu  run the tests that need a CUDA device, with the python of the GPU environment: make test-gpu GPU_PYTHON=..."
	@echo "make quick   the unit tests that need no torch, Ray, vLLM or browser: a few seconds, while you work"
	@echo "make mutate  break the pure modules on purpose and see that their tests notice: minutes, before a release"
	@echo "make check   lint, format, types, import order, dead code"
	@echo "make docs    build the documentation as a site into site/"
	@echo "make serve   serve the checkpoints of the demo"
	@echo "make attack  serve the demo, attack it, and print what a polite client waits"
	@echo "make clean   remove the environment, caches and runs"

$(VENV)/made:
	@command -v $(PYTHON) >/dev/null || { echo "error: no $(PYTHON) on PATH. fix: install Python 3.11, or name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "error: $(PYTHON) is $$($(PYTHON) -V 2>&1), and the pinned wheels need Python 3.11. fix: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "error: $(PYTHON) lacks venv or pip. fix: install its venv package (Debian: python3.11-venv)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/cpu: requirements/cpu.txt | $(VENV)/made
	$(INSTALL) $(TORCH) 2>/dev/null || $(INSTALL) --extra-index-url $(TORCH_INDEX) $(TORCH)
	$(INSTALL) --requirement requirements/cpu.txt
	@touch $@

$(VENV)/dev: requirements/dev.txt $(VENV)/cpu
	$(INSTALL) --requirement requirements/dev.txt
	@touch $@

$(VENV)/interplay: pyproject.toml $(VENV)/cpu
	$(INSTALL) --no-build-isolation --editable .
	@touch $@

setup: $(VENV)/interplay

setup-dev: setup $(VENV)/dev

demo: setup
	$(BIN)/interplay doctor
	$(BIN)/interplay run tiny-cpu --run-dir $(RUN) --resume
	@echo "report: $(RUN)/report.html   serve it: make serve"

# Two files at a time: most of a test of real parts is waiting for one of them to start.
test: setup-dev
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

# The environment is the machine's own (requirements/gpu.txt): nothing is installed, no network is needed. One process a
# file, since vLLM and DeepSpeed both form process-wide groups.
test-gpu:
	for part in tests/gpu/test_*.py; do $(GPU_PYTHON) -m pytest -m gpu $$part || exit 1; done

quick: setup-dev
	$(BIN)/python -m pytest -q $(QUICK)

mutate: setup-dev
	rm -rf mutants
	$(BIN)/mutmut run
	$(BIN)/mutmut results

check: setup-dev docs
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python -m tests.dead_code

# NO_MKDOCS_2_WARNING: the theme's notice about its successor, in the middle of every build.
docs: setup-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

format: setup-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

serve: setup
	$(BIN)/interplay serve $(RUN)

attack: setup
	$(BIN)/python -m benchmarks.attack $(RUN)

clean:
	rm -rf $(VENV) site .cache runs .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage mutants
