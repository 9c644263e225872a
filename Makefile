# Everything here starts from a fresh Debian or Ubuntu with Python >= 3.11, git and make: each target sets up what it needs.
# PYTHON=python3.12 chooses the interpreter of .venv.

SHELL := /bin/bash
PYTHON ?=
OUT ?= demo
WORK ?= artifacts/training
export PYTHON

BIN := .venv/bin
# A screen where there is one, a virtual one where there is none: Qt's own "offscreen" cannot draw OpenGL.
HAS_SCREEN := $(or $(DISPLAY),$(filter Darwin,$(shell uname -s)))
SCREEN := $(if $(HAS_SCREEN),,env -u QT_QPA_PLATFORM xvfb-run -a -s "-screen 0 1600x1000x24")
PYTEST := $(SCREEN) $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help demo checkpoint test slow cov lint format types contracts check bench bench-gpu bench-quality setup setup-dev system clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: setup ## the shipped case and checkpoint in napari; without a screen, segment it and leave pictures in demo/ (OUT=...)
	$(BIN)/napari-diffseg demo --out $(OUT)

checkpoint: setup ## train the shipped checkpoint anew by scripts/shipped-1.toml to -3: hours; goes on where it was (WORK=...)
	$(BIN)/python scripts/make_checkpoint.py --work $(WORK)

test: setup ## the default tests, in up to four processes (ARGS=... goes to pytest)
	OMP_NUM_THREADS=1 $(PYTEST) -n logical --maxprocesses 4 --dist loadfile $(ARGS)

slow: setup ## the tests marked slow, in two processes
	$(PYTEST) -m slow -n 2 --dist loadfile -o faulthandler_timeout=900 $(ARGS)

cov: setup ## the default tests with coverage, branches included; pages in htmlcov/
	$(PYTEST) --cov --cov-report=term-missing:skip-covered --cov-report=html $(ARGS)

lint: .venv/.with-dev ## ruff: rules and formatting
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: .venv/.with-dev ## let ruff mend what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: .venv/.with-dev ## mypy, strict
	$(BIN)/mypy

contracts: setup-dev ## the layers and borders of docs/architecture.md, and the napari manifest
	$(BIN)/lint-imports
	$(BIN)/npe2 validate --imports napari-diffseg

check: lint types contracts ## lint, types and contracts

setup: system .venv/.with-gui-test ## only the set-up of demo and test
setup-dev: system .venv/.with-dev ## only the set-up of the checks

system:
	@scripts/setup.sh system

# The stamps make the second call instant. .with-dev includes what .with-gui-test has.
.venv/.with-gui-test: pyproject.toml constraints.txt scripts/setup.sh
	@scripts/setup.sh venv gui,test
	@touch $@

.venv/.with-dev: .venv/.with-gui-test
	@scripts/setup.sh venv dev
	@touch $@

# CHECKPOINT=file measures another one, CASES=folder real cases, too; a second call goes on where a first was stopped.
CHECKPOINT ?= demo
CASES ?=
WHOLE ?=
BENCH := $(BIN)/python benchmarks
bench: setup ## figures of docs/performance.md on the processor: an hour and a half (WHOLE=--whole: more; CASES=... real ones, too)
	$(BENCH)/speed.py --device cpu $(ARGS)
	$(BENCH)/speed_runs.py --device cpu $(WHOLE)
	$(SCREEN) $(BENCH)/viewer.py --device cpu
	$(BENCH)/growth.py --device cpu
	$(BENCH)/memory.py --device cpu
	$(SCREEN) $(BENCH)/startup.py
	$(BENCH)/speed_agreement.py --device cpu $(if $(CASES),--cases $(CASES))
	$(BENCH)/early_stop.py --device cpu $(if $(CASES),--cases $(wildcard $(CASES)/*/))
	$(BENCH)/compare_builds.py --device cpu
	$(BIN)/python benchmarks/speed_tables.py

bench-gpu: setup ## the same on a GPU, where PyTorch finds one
	$(BENCH)/speed.py --device cuda --compiled $(ARGS)
	$(BENCH)/speed_runs.py --device cuda --whole
	$(BIN)/napari-diffseg prepare demo --device cuda
	$(SCREEN) $(BENCH)/viewer.py --device cuda
	$(BENCH)/growth.py --device cuda
	$(BENCH)/memory.py --device cuda
	$(BENCH)/speed_agreement.py --device cuda --out benchmarks/results/speed_agreement_gpu.json $(if $(CASES),--cases $(CASES))
	$(BENCH)/compare_builds.py --device cuda
	$(BIN)/python benchmarks/speed_tables.py

bench-quality: setup ## figures of docs/evaluation.md; hours on a processor (ARGS="--phantoms 2 --budget-s 300" for less)
	$(BENCH)/exact_sampler.py --randomise 0.25
	$(BENCH)/phantom_ensemble.py --checkpoint $(CHECKPOINT) $(ARGS)
	$(BENCH)/ambiguity.py --checkpoint $(CHECKPOINT) --randomise 0.25 $(ARGS)
	$(BENCH)/baseline_unet.py --small --steps 1000 --checkpoint $(CHECKPOINT) $(ARGS)
	$(BENCH)/baseline_unet.py --plain-only --networks 1 --steps 2400 --pool-phantoms 600 --checkpoint $(CHECKPOINT) \
		--out benchmarks/results/baseline_unet_large.json $(ARGS)
	$(if $(CASES),$(BENCH)/real_cases.py --checkpoint $(CHECKPOINT) --cases $(CASES) --resume)
	$(BENCH)/refinement.py --checkpoint $(CHECKPOINT)
	$(BENCH)/sampling_steps.py --checkpoint $(CHECKPOINT) $(ARGS)
	$(BENCH)/ablation.py
	$(BIN)/python benchmarks/tables.py

clean: ## remove .venv, caches and what demo and the tests wrote
	rm -rf .venv demo artifacts htmlcov .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
