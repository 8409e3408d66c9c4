# setup demo test test-all coverage lint audit weights bench bench-gpu clean: `make demo` goes from a fresh machine to a report.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The first that runs and has a version that is supported; a name alone may be an empty shim.
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
PYTHON ?= $(shell for p in python3 python3.12 python3.13 python3.11; do \
  $$p -c '$(SUPPORTED)' 2>/dev/null && echo $$p && exit; done; echo none)
VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed

DEMO := demo
BY_HAND := benchmarks/soak.py benchmarks/arcade.py benchmarks/pretraining.py benchmarks/label_doctor.py \
  benchmarks/lesions.py benchmarks/predict.py benchmarks/leak.py benchmarks/leak_worth.py

.PHONY: help setup demo test test-all coverage lint audit weights bench bench-gpu clean lock

help:
	@echo "make demo    a phantom archive, preprocessed, trained over all folds, reported"
	@echo "make test    lint, types and tests, up to a report by the commands themselves"
	@echo "make test-all  the tests that take longer: kills, hosts, clusters, browsers, sweeps"
	@echo "make coverage  the tests of make test, and which lines they run"
	@echo "make lint    ruff, mypy, and which room may import which"
	@echo "make audit   asks whether a pinned package has a known vulnerability"
	@echo "make bench   every benchmark but those that are run by hand, results under benchmarks/results"
	@echo "make bench-gpu PYTHON=python3  what is measured on a GPU, by a Python that has torch and torchvision"
	@echo "make weights what the demo's detectors start from, pretrained anew on simulated frames"
	@echo "make setup   the environment in $(VENV); the others call it by themselves"
	@echo "make clean   removes what the others made, but not $(VENV)"

setup: $(INSTALLED)

# Written last, so that an interrupted installation is taken up again.
$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c '$(SUPPORTED)' 2>/dev/null || { echo "angioray needs Python 3.11 to 3.13 and" \
	  "found none that runs. Install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12"; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check uv
	@$(PY) -m uv pip sync --quiet --compile-bytecode --python $(PY) --require-hashes requirements.lock
	@$(PY) -m uv pip install --quiet --python $(PY) --no-deps --editable .
	@touch $(INSTALLED)
	@echo "The environment is ready in $(VENV)."

demo: setup
	$(PY) -m angioray.demo --out $(DEMO)

# What `weights: phantom` stands for; half an hour on two cores. The same command continues.
weights: setup
	$(PY) -m angioray.pretrain pretrained --config configs/demo.yaml
	cp pretrained/detector.safetensors angioray/models/weights/phantom.safetensors
	cp pretrained/result.json angioray/models/weights/phantom.json

lint: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports --no-logo

# pip-audit comes by itself and stays out of the environment. What it cannot look up is not passed over.
AUDIT := $(PY) -m uv tool run --quiet pip-audit --strict --requirement requirements.lock --require-hashes \
  --disable-pip --progress-spinner off

audit: setup
	@if found=$$($(AUDIT) 2>&1); then echo "$$found"; else \
	  case "$$found" in *"known vulnerabilit"*) echo "$$found" ;; \
	  *) echo "Nothing was audited: the package index gave no list of vulnerabilities. The cause:"; \
	    echo "$$found" | tail -n 6 ;; esac; exit 1; fi

# Two at a time, for most tests use one core or wait; those of a file share what was made for them.
PYTEST := $(PY) -m pytest -n 2 --dist loadfile

test: lint
	$(PYTEST) -m "not slow"

test-all: setup
	$(PYTEST) -m slow

coverage: setup
	$(PYTEST) -m "not slow" --cov --cov-report=term:skip-covered

# By hand: the soak kills a study a hundred times over, and the label doctor trains nine of them, which
# takes most of an hour each; ARCADE wants its
# archives, and the prediction a finished study.
bench: setup
	@mkdir -p benchmarks/results
	@for script in $(filter-out $(BY_HAND),$(wildcard benchmarks/*.py)); do \
	  $(PY) $$script --out benchmarks/results/$$(basename $$script .py).json; done

# By whatever PyTorch is there, for machines lent for an hour: torch, torchvision and numpy suffice.
GPU_RESULTS ?= benchmarks/results/gpu
bench-gpu:
	@mkdir -p $(GPU_RESULTS)
	PYTHONPATH=. $(PYTHON) benchmarks/train_step.py --compiled --out $(GPU_RESULTS)/train_step.json
	PYTHONPATH=. $(PYTHON) benchmarks/data_road.py --out $(GPU_RESULTS)/data_road.json
	PYTHONPATH=. $(PYTHON) benchmarks/shared_device.py --out $(GPU_RESULTS)/shared_device.json
	$(if $(ARCADE),PYTHONPATH=. $(PYTHON) benchmarks/arcade.py --data $(ARCADE) --out $(GPU_RESULTS)/arcade.json)

clean:
	rm -rf $(DEMO) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*
	find angioray preprocess tune tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Needed after a change of the dependencies in pyproject.toml; commit the result.
lock: $(VENV)/bin/python
	$(PY) -m uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-emit-index-url --no-emit-find-links --no-annotate --quiet --output-file requirements.lock
