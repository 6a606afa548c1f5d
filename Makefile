# `make help` explains each target. `make demo` and `make test` need nothing but Python 3.11 or newer.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TEST_WORKERS ?= auto
SCHEDULES ?= 2000
DAYS ?= 24
FIRST_SEED ?= 0

# Dozens of processes are started: each would compile everything anew where this is set.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help

help:  ## Explain the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  \033[1m%-14s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements/dev.lock pyproject.toml
	@echo "setting up $(VENV) (once)"
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

setup: $(STAMP)  ## Set up .venv with everything (the other targets do it by themselves)

demo: $(STAMP)  ## Break a simulated cluster in several ways, and watch Aegis heal it; SEED=… repeats one
	@$(BIN)/aegis demo $(if $(SEED),--seed $(SEED))

up: $(STAMP)  ## Keep Aegis running on a simulated cluster; KUBECONFIG_FILE=… puts it on a real one
	@$(BIN)/aegis up $(if $(KUBECONFIG_FILE),--kubeconfig $(KUBECONFIG_FILE) $(if $(PROMETHEUS),--prometheus $(PROMETHEUS)))

cluster: $(STAMP)  ## Start a real Kubernetes node here (root on Linux); RELEASE=1.28, KWOK_NODES=5, CONTROL_PLANE_ONLY=1
	@$(BIN)/python -m testbed up $(if $(RELEASE),--release $(RELEASE)) $(if $(KWOK_NODES),--kwok-nodes $(KWOK_NODES)) \
	  $(if $(CONTROL_PLANE_ONLY),--control-plane-only)

cluster-down: $(STAMP)  ## Take it down, and leave the machine as it was
	@$(BIN)/python -m testbed down

cluster-logs: $(STAMP)  ## Show the end of each of its programs' logs; NAME=kubelet shows one, whole
	@$(BIN)/python -m testbed logs $(NAME)

cluster-import: $(STAMP)  ## Bring images to it: ARCHIVE=…, as `docker save` and `buildah push … docker-archive:…` write them
	@$(BIN)/python -m testbed import $(ARCHIVE)

record: $(STAMP)  ## Record what happens in a namespace of it: RUN=… NAMESPACE=… (MORE='--seconds 60 --cause Deployment/web')
	@$(BIN)/python -m testbed.recorder $(RUN) --namespace $(NAMESPACE) $(MORE)

rules: $(STAMP)  ## Check the recording rules with promtool (Debian's, root on Linux)
	@$(BIN)/python -m testbed rules

test: $(STAMP) kubectl  ## Run the tests
	@PATH="$(CURDIR)/$(VENV)/tools:$$PATH" $(BIN)/python -m pytest -n $(TEST_WORKERS) --dist worksteal -q

test-cluster: $(STAMP)  ## Run the tests on the real cluster that `make cluster` started
	@$(BIN)/python -m pytest tests/cluster -n 0 -q

conformance: $(STAMP)  ## Hold the simulated cluster to real ones (root on Linux); writes docs/reference/conformance.md
	@scripts/conformance.sh docs/reference/conformance.md

check: $(STAMP)  ## Formatting, lint, types, import contracts
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(STAMP)  ## Measure, side by side with what others use
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.lock
	@for each in benchmarks/*.py; do echo "== $$each"; $(BIN)/python $$each; done

bench-cluster: $(STAMP)  ## Measure bad revisions beside Argo Rollouts, on the cluster of `make cluster` (15 minutes)
	@$(BIN)/python -m benchmarks.cluster.bad_revisions

simulate: $(STAMP)  ## Random fault schedules against the rules that always hold; SCHEDULES=… FIRST_SEED=…
	@$(BIN)/python -m pytest tests/simulation -n $(TEST_WORKERS) -q --schedules $(SCHEDULES) --first-seed $(FIRST_SEED)

ordinary-days: $(STAMP)  ## Drawn days on which nothing breaks: no action may be proposed; DAYS=… FIRST_SEED=…
	@$(BIN)/python benchmarks/ordinary_days.py --days $(DAYS) --first-seed $(FIRST_SEED)

kubectl:  ## A kubectl for the tests: the one on PATH, else built from its Go module
	@scripts/kubectl.sh $(VENV)/tools

lock:  ## Write requirements/*.lock anew from pyproject.toml
	@scripts/lock.sh

clean:  ## Remove what the other targets made
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

.PHONY: help setup demo up cluster cluster-down cluster-logs cluster-import record rules test test-cluster conformance check bench bench-cluster simulate ordinary-days kubectl lock clean
