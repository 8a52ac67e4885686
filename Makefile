# make demo    everything on this machine: http://127.0.0.1:8000 (Ctrl-C ends it; DEMO="--no-events" …)
# make test    what CI runs: style, types, import rules, dependencies, tests (TESTS="tests/unit -k x")
# make lint    the same without the tests     make format   mend style
# make chaos   100 faults over 10 million events, 45 minutes (CHAOS="--faults 20 --events 300000")
# make bench   how fast it is; writes docs/performance.md (BENCH="throughput --events 1000000")
# make mutants changes the core in thousands of ways: do tests notice? (MUTANTS="stream.core.desk*")
# make docs    docs/metrics.md out of the catalogue, Grafana's dashboards out of their code
# make audit   known weaknesses of the pinned dependencies
# make lock    pin the dependencies anew      make clean    remove what the others have made

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/pip --disable-pip-version-check --quiet install
DEMO   ?=
TESTS  ?= tests
CHAOS  ?= --faults 100 --events 10000000 --rate 6000
BENCH  ?=
MUTANTS ?=

.PHONY: demo test chaos bench mutants lint format docs audit lock clean packages
.DELETE_ON_ERROR:

demo: $(VENV)/.demo
	@exec $(BIN)/stream demo $(DEMO)

test: $(VENV)/.dev packages lint
	@echo "· tests"
	@$(BIN)/python -m pytest --numprocesses auto --dist loadfile $(TESTS)

chaos: $(VENV)/.dev
	@$(BIN)/python -m tests.chaos.run $(CHAOS)

bench: $(VENV)/.dev
	@$(BIN)/python -m tests.bench.run $(BENCH) --out docs/performance.json
	@$(BIN)/python -m tests.bench.report

mutants: $(VENV)-mutants/.done
	@$(VENV)-mutants/bin/mutmut run $(MUTANTS)
	@$(VENV)-mutants/bin/mutmut results

lint: $(VENV)/.dev
	@echo "· style"
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { echo "not formatted; run: make format"; exit 1; }
	@echo "· types"
	@$(BIN)/mypy --strict --no-error-summary
	@echo "· import rules"
	@$(BIN)/lint-imports --no-logo > $(VENV)/lint-imports.log || { cat $(VENV)/lint-imports.log; exit 1; }
	@echo "· dependencies"
	@$(BIN)/deptry --no-ansi stream > $(VENV)/deptry.log 2>&1 || { cat $(VENV)/deptry.log; exit 1; }

format: $(VENV)/.dev
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format --quiet .

docs: $(VENV)/.dev
	@$(BIN)/python -m tools.metrics_doc
	@$(BIN)/python -m tools.dashboards

audit: $(VENV)/.dev
	@$(BIN)/python -m tools.audit

lock: $(VENV)/.dev
	@tools/lock $(BIN)/uv

clean:
	rm -rf $(VENV) $(VENV)-mutants mutants .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

packages:
	@tools/debian-packages redis-server:redis-server promtool:prometheus \
		amtool:prometheus-alertmanager java:default-jre-headless mvn:maven chromium:chromium

$(BIN)/python:
	@tools/venv $(PYTHON) $(VENV)

$(VENV)/.demo: $(BIN)/python requirements/build.lock requirements/demo.lock pyproject.toml
	@echo "Installing the demonstration into $(VENV) (once) …"
	@$(PIP) --require-hashes -r requirements/build.lock -r requirements/demo.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(BIN)/python requirements/dev.lock pyproject.toml
	@echo "Installing what development needs into $(VENV) (once) …"
	@$(PIP) --require-hashes -r requirements/dev.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@ $(VENV)/.demo

$(VENV)-mutants/.done: requirements/mutants.lock pyproject.toml
	@tools/venv $(PYTHON) $(VENV)-mutants
	@$(VENV)-mutants/bin/pip --disable-pip-version-check --quiet install --require-hashes --no-deps \
		-r requirements/mutants.lock
	@touch $@
