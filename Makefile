# Everything below installs what it needs into .venv, and says so before it does.
# ARGS is handed on: make test ARGS="-k cancel", make demo ARGS="--help".
# NEWEST=yes takes the newest packages that pyproject.toml allows, instead of those of requirements/.

IS_NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3 python3.14; do \
	$$python -c '$(IS_NEW_ENOUGH)' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -q -n auto --dist worksteal
ARGS ?=

# Tests start hundreds of processes of the package: let only the first of them compile it.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test check check-wheel bench docs torture lint install install-dev install-integrations install-bench redis-server proxies programs web-clients collected
# What does not need each other is named by a target that calls for it.
ifndef TOGETHER
.NOTPARALLEL:
endif

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: install ## open a chat page that survives everything one does to it (needs no Redis)
	@$(BIN)/streamhub demo $(ARGS)

test: ## everything: lint, types, all tests against real servers and clients
	@$(MAKE) --no-print-directory -j2 TOGETHER=yes install-integrations programs
	@$(MAKE) --no-print-directory -j3 TOGETHER=yes web-clients lint collected
	@# The packages of others take each worker ten seconds to import: two do, beside all else.
	@apart=$$(mktemp); status=0; \
	$(PYTEST) -n 2 -m integrations $(ARGS) >"$$apart" 2>&1 & beside=$$!; \
	$(PYTEST) -m "not integrations" $(ARGS) || test $$? = 5 || status=$$?; \
	wait $$beside || test $$? = 5 || status=$$?; \
	echo "What needs the packages of others:"; cat "$$apart"; rm "$$apart"; \
	exit $$status

check: install-dev redis-server lint ## the quick round: lint, types, the fast tests
	@$(PYTEST) -m "not slow and not integrations" $(ARGS)

check-wheel: install-dev redis-server ## the fast tests on the wheel, as it is built and installed
	@$(BIN)/python tools/wheel.py
	@build/wheel/$(PYTEST:$(BIN)/%=bin/%) -m "not slow and not integrations" $(ARGS)

bench: install-bench redis-server ## measure it against its baselines; takes some minutes
	@$(BIN)/python -m bench $(ARGS)

docs: install-integrations ## build the site, and a Markdown copy of it, in build/docs
	@$(BIN)/python -m sphinx --quiet --fail-on-warning docs build/docs $(ARGS)
	@echo "Open build/docs/index.html"

torture: install-dev redis-server ## random faults on running streams, from a seed: make torture ARGS="--seconds 600"
	@$(BIN)/python -m tests.faults.torture $(ARGS)

lint:
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet || { echo "not formatted; run $(BIN)/ruff format" >&2; exit 1; }
	@$(BIN)/mypy

install: WITH := all
install-dev: WITH := dev
install-integrations: WITH := integrations
install-bench: WITH := bench
install install-dev install-integrations install-bench:
	@$(PYTHON) -c '$(IS_NEW_ENOUGH)' 2>/dev/null || { echo "streamhub needs Python 3.11 or newer;" \
		"name one that is: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) tools/venv.py $(WITH) $(if $(NEWEST),--newest)

redis-server:
	@sh tools/system-programs.sh redis-server

proxies:
	@sh tools/system-programs.sh nginx haproxy || echo "The tests of a proxy that is not there are left out."

# One after the other: a package manager lets nobody else in.
programs:
	@$(MAKE) --no-print-directory TOGETHER= redis-server proxies
	@sh tools/system-programs.sh chromium curl

# Once, so that what is imported is compiled: all workers begin together, and each would compile it.
# What is wrong is told by those that run.
collected: install-integrations
	@$(BIN)/python -m pytest -qq -n 0 --collect-only >/dev/null 2>&1 || true

web-clients: install-dev
	@sh tools/system-programs.sh chromium curl
	@$(BIN)/python tools/node_modules.py
