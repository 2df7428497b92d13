# gatecast. `make` prints this help.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
PORT   ?= 5000

export PATH := $(CURDIR)/$(BIN):$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true

.DEFAULT_GOAL := help
.PHONY: help setup without-git demo experiments test test-slow lint bench accuracy ui clean clean-all

help:  ## Print this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "gatecast needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@git rev-parse --git-dir >/dev/null 2>&1 || $(MAKE) --no-print-directory without-git
	@touch $(READY)

without-git:
	@echo "This folder is not in git: DVC is told to do without. Experiments need git (docs/dvc.md)."
	$(BIN)/dvc config --local core.no_scm true

setup: $(READY)  ## Create .venv and install the locked packages

demo: $(READY)  ## Run the whole belt on the embedded demo feed, then score every series
	dvc repro
	python pipelines/score.py
	python pipelines/status.py

experiments: $(READY)  ## Print the experiments of DVC: the best variant, its scores, the parameters that differ
	@dvc exp show --no-pager --only-changed --hide-failed --keep '^(best|mase|smape|rmsse|wape|wql|msis|skill)$$' \
	  --drop '^(Created|Executor|State|rev|coverage_95|variants\..*|event\..*|(data|src|reports)/.*)$$'

test: $(READY)  ## Run the test suite (under eight minutes on two cores)
	OMP_NUM_THREADS=1 pytest -m "not slow" -n 2 --dist loadfile --no-loadscope-reorder

test-slow: $(READY)  ## Run the long tests (under twenty minutes)
	OMP_NUM_THREADS=1 pytest -m slow -n 2 --dist loadfile

lint: $(READY)  ## Check style and types
	ruff check src pipelines tests benchmarks
	ruff format --check src pipelines tests benchmarks
	mypy

BENCH := training memory evaluation growth memory_horizon logging_cost scoring faults $(if $(GATECAST_DATA_DIR),time_to_accuracy events)
bench: $(READY)  ## Run the benchmarks (QUICK=1: under a minute each) and write benchmarks/RESULTS.md
	set -e; for name in $(BENCH); do \
	  python -m benchmarks.$$name $(if $(QUICK),--quick) --out benchmarks/results/$$name.json; done
	python -m benchmarks.gpu $(if $(QUICK),--quick) --out benchmarks/results/gpu.json || test $$? = 2
	$(if $(VENVS),python -m benchmarks.peers --peers $(PEERS) --venvs $(VENVS) --data $(GATECAST_DATA_DIR) --out benchmarks/results/peers.json)
	python -m benchmarks.results

accuracy: $(READY)  ## Measure the accuracy of the recipes on every source (hours), and write benchmarks/RESULTS.md
	set -e; for source in m4_hourly etth1 bike_sharing beijing_pm25 demo; do \
	  python -m benchmarks.accuracy --source $$source --out benchmarks/results/accuracy_$$source.json; done
	python -m benchmarks.results

ui: $(READY)  ## Serve the MLflow pages on http://127.0.0.1:5000 (PORT=… for another) and name the comparison
	@python pipelines/ui.py port=$(PORT)

clean:  ## Remove what `dvc repro` makes, but not the registry, the ledger or the forecasts
	rm -rf data/raw/.watch data/observations data/panel data/digests models reports checkpoints dvc_plots .dvc/cache .dvc/tmp dvc.lock

clean-all: clean  ## Remove the registry, the ledger and all forecasts, too (not .venv, not data/raw)
	rm -rf data/scoring forecasts mlartifacts mlruns mlflow.db* ledger.db* tune.db* .mlflow.lock .tune.lock
