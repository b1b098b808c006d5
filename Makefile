# What people run here; `make` alone lists it. Where there is no make, README.md has the same commands.

PYTHON ?= python3
BIN := .venv/bin
PACKAGES := store ecgprep ecgtrain ecgeval pipelines

# make demo DATA=DIR takes real recordings (DIR holds mitdb/ and ptb-xl/) instead of synthetic ones.
DATA ?=
DEMO_MINUTES ?= 1
DEMO_RECORDS ?= 80
DEMO_HOME := ecg-workspace/$(if $(DATA),demo-real,demo-synthetic)
DEMO_RAW := $(or $(DATA),$(DEMO_HOME)/raw)
DEMO := ECG_HOME="$(DEMO_HOME)" $(BIN)

.DEFAULT_GOAL := help
.PHONY: help install demo check-data recordings test lint format clean
.NOTPARALLEL:
.SILENT:

help:  ## list the targets
	awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: .venv/installed  ## make .venv and install the three programs into it
	echo "The programs are in $(BIN): ecgprep, ecgtrain, ecgeval"

demo: check-data .venv/installed recordings  ## build, train and report on synthetic recordings, or on real ones: DATA=DIR
	echo "MIT-BIH: beats, split between patients"
	$(DEMO)/ecgprep build --dataset mitdb --reps cwt,spectrogram --from "$(DEMO_RAW)"
	$(DEMO)/ecgtrain run --model resnet1d_wang
	$(DEMO)/ecgeval report
	echo "PTB-XL: twelve-lead records, official folds"
	$(DEMO)/ecgprep build --dataset ptbxl --reps gaf,mtf,cwt --from "$(DEMO_RAW)"
	$(DEMO)/ecgtrain run
	$(DEMO)/ecgeval report

check-data:
ifneq ($(DATA),)
	for database in mitdb ptb-xl; do \
	    test -d "$(DATA)/$$database" || { echo "make demo: $(DATA) holds no folder $$database/" >&2; exit 2; }; \
	done
endif

recordings: .venv/installed
ifeq ($(DATA),)
	$(BIN)/ecgprep synth "$(DEMO_RAW)" --like mitdb --minutes $(DEMO_MINUTES)
	$(BIN)/ecgprep synth "$(DEMO_RAW)" --like ptbxl --records $(DEMO_RECORDS)
endif

# Two processes share the tests; a second thread in each would only wait for a core.
test: .venv/installed-dev  ## run the tests; set ECG_TEST_DATA to a folder of real recordings for all of them
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

lint: .venv/installed-dev  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(addprefix -p ,$(PACKAGES))

format: .venv/installed-dev  ## put the code into its standard form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove caches and what the demo made; .venv and other workspaces stay
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -rf ecg-workspace/demo-synthetic ecg-workspace/demo-real
	find $(PACKAGES) tests -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { \
	    echo "$(PYTHON) is not Python 3.11, 3.12 or 3.13; name one: make $(or $(MAKECMDGOALS),install) PYTHON=python3.12" >&2; \
	    exit 2; }
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 2; }

.venv/installed: pyproject.toml | .venv/bin/python
	echo "Installing into .venv; the first time this downloads PyTorch and takes minutes"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

.venv/installed-dev: pyproject.toml | .venv/bin/python
	echo "Installing into .venv with the tools for tests; the first time this takes minutes"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch .venv/installed $@
