# A fresh machine needs python3 (3.11 or newer), its venv module, and make; everything else is set up here.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup compiled demo demo-check test test-compiled lint format bench endurance issuing-app issuing-app-signed clean

PYTHON ?= python3
VENV   := .venv
RUN    := $(VENV)/bin/python
BUILD  := build
PORT   ?= 8443
TESTS  ?=
SOURCES = $(shell find mtls_gateway -type f -not -name '*.pyc')

PIP := $(RUN) -m pip --quiet --quiet --disable-pip-version-check --no-input

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/installed ## the virtual environment in .venv, from constraints.txt (the other verbs do it when needed)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "$(PYTHON) is older than Python 3.11; name a newer one: make PYTHON=python3.12" >&2; exit 1; }
	@echo "making the virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { echo "no venv module: on Debian, apt-get install python3-venv" >&2; exit 1; }

# The hashes first, then the project itself without its dependencies: nothing that is not in constraints.txt
# is ever installed, nor fetched to build it.
$(VENV)/installed: constraints.txt pyproject.toml | $(VENV)/bin/python
	@echo "installing what constraints.txt names"
	@$(PIP) install --require-hashes -r constraints.txt
	@$(PIP) install --no-index --no-deps --no-build-isolation --editable .
	@$(RUN) -m compileall -q mtls_gateway
	@touch $@

# What is compiled lies apart, and is used by name only: .venv runs what is written.
compiled: $(BUILD)/compiled/installed ## the program with the path of a request compiled to C, in build/compiled

$(BUILD)/compiled/installed: setup.py pyproject.toml constraints.txt deploy/wheel.sh $(SOURCES) | $(VENV)/installed
	@rm -rf $(BUILD)/compiled
	@mkdir -p $(BUILD)/compiled
	@sh deploy/wheel.sh $(RUN) $(BUILD)/compiled/wheel
	@$(PIP) install --no-index --no-deps --target $(BUILD)/compiled $(BUILD)/compiled/wheel/*.whl
	@touch $@

demo: $(VENV)/installed ## a bank, its CA, users for every case and two workers; Ctrl-C ends it (PORT=8443)
	@$(RUN) -m mtls_gateway.demo --directory $(BUILD)/demo --port $(PORT)

demo-check: $(VENV)/installed ## the same on free ports, every case walked as a client would; leaves nothing running
	@$(RUN) -m mtls_gateway.demo --check

test: $(VENV)/installed $(BUILD)/compiled/installed ## the tests (TESTS=tests/wire for some of them)
	@$(RUN) -m pytest $(or $(TESTS),--numprocesses 2)

test-compiled: $(BUILD)/compiled/installed ## the tests of the rooms that are compiled, on what they are compiled to
	@$(RUN) -m pytest -o pythonpath="$(BUILD)/compiled ." -m "not interpreted" $(or $(TESTS),--numprocesses 2 tests/wire tests/signin)

lint: $(VENV)/installed ## ruff, mypy --strict, import contracts, docs/configuration.md, the house's own rules
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports
	@$(RUN) -m mtls_gateway config-reference --check docs/configuration.md
	@$(RUN) .ci/house_rules.py

format: $(VENV)/installed ## ruff's formatter over everything
	@$(VENV)/bin/ruff format .

bench: $(BUILD)/compiled/installed ## the figures, as ratios against nginx on this machine
	@$(RUN) -m benchmarks

endurance: $(VENV)/installed ## a quarter of an hour of reloads, upgrades and kill -9 under load (see docs/endurance.md)
	@$(RUN) -m benchmarks.endurance

issuing-app: ## 証明書発行アプリ for Windows, in build/issuing-app (DOMAIN=example.co.jp pins it to the bank)
	@$(MAKE) --no-print-directory -f deploy/issuing-app/Makefile OUT=$(BUILD)/issuing-app

issuing-app-signed: issuing-app ## the same, signed (SIGN_CERTIFICATE=… SIGN_KEY=…)
	@$(MAKE) --no-print-directory -f deploy/issuing-app/Makefile OUT=$(BUILD)/issuing-app signed

clean: ## remove what was built, the demo's material and the virtual environment
	@rm -rf $(VENV) $(BUILD) *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
