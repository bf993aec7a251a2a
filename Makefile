# Two commands for a fresh machine: `make demo` and `make test`. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := --config conf/demo.yaml
OLDEST := .venv-oldest
OLDEST_PYTHON ?= python3.11
FLOOR := 61
TEXTS := recsys_spark docs conf jobs README.md CHANGELOG.md CONTRIBUTING.md Makefile mkdocs.yml

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-spark test-slow test-oldest coverage lint type format hooks
.PHONY: docs bench bundle clean java

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: java $(VENV)/.run  ## Generate ratings and run every stage, to published recommendations
	@$(BIN)/recsys-spark generate $(DEMO) --quiet
	@$(BIN)/recsys-spark run $(DEMO)

test: java $(VENV)/.dev  ## Run the whole test suite
	@$(BIN)/python -m pytest -n 2 --dist worksteal

test-fast: $(VENV)/.dev  ## Run the tests that need no Spark
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m fast

test-spark: java $(VENV)/.dev  ## Run the tests that share a Spark session
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m spark

test-slow: java $(VENV)/.dev  ## Run the tests with clusters, servers, browsers, real ratings
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m slow

test-oldest: $(OLDEST)/.dev  ## Run the tests that need no Spark on the oldest supported versions
	@$(OLDEST)/bin/python -m pytest -n 2 --dist worksteal -m fast -W ignore::DeprecationWarning

coverage: $(VENV)/.dev  ## Count the lines that the tests without Spark run; fail below the floor
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m fast --cov --cov-report=term:skip-covered \
	  --cov-fail-under=$(FLOOR)

lint: $(VENV)/.dev  ## Check style with ruff, and words with codespell (docs/words.txt)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/codespell -D - $(TEXTS)

type: $(VENV)/.dev  ## Check types with mypy, strictly in the package
	@$(BIN)/mypy

format: $(VENV)/.dev  ## Format and sort imports
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

hooks: $(VENV)/.dev  ## Check style, types and words before every commit
	@$(BIN)/pre-commit install

docs: $(VENV)/.docs  ## Build the pages and the API from its docstrings into build/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: java $(VENV)/.dev  ## Try both benchmarks at small sizes (minutes); see benchmarks/README.md
	@$(BIN)/python benchmarks/train_vs_peers.py --ranks 32 --iterations 5 --sweeps 1 3 \
	  --repeats 1 --driver-memory 2g
	@$(BIN)/python benchmarks/scale.py --sizes 200_000 1_000_000 --rank 32 --driver-memory 2g

bundle: $(VENV)/.dev  ## Build the wheel, and the zip for spark-submit --py-files
	@$(BIN)/python -m build --wheel --outdir dist . > /dev/null
	@cp dist/recsys_spark-*.whl dist/recsys_spark.zip
	@ls -1 dist

clean:  ## Delete the demo's output, build products and compiled kernels, keep the environment
	rm -rf demo dist build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find recsys_spark -name "*.nbc" -delete

java:
	@if ! "$${JAVA_HOME:+$$JAVA_HOME/bin/}java" -version > /dev/null 2>&1; then \
	  echo "Java 17 or 21 is needed and was not found. Install it with"; \
	  echo "  Debian/Ubuntu:  sudo apt install openjdk-17-jre-headless"; \
	  echo "  macOS:          brew install openjdk@17"; \
	  echo "  conda:          conda install -c conda-forge openjdk=17"; \
	  echo "or set JAVA_HOME to where it is."; exit 1; fi

$(VENV)/bin/python:
	@echo "Creating the environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.docs: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Installing what builds the pages (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@

$(OLDEST)/.dev: pyproject.toml tests/oldest.txt
	@echo "Installing the oldest supported versions in $(OLDEST) (once, a few minutes)"
	@$(OLDEST_PYTHON) -m venv $(OLDEST)
	@$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check \
	  -c tests/oldest.txt -e '.[dev]'
	@touch $@

$(VENV)/.run: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Installing recsys-spark and what it needs (once, a few minutes)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@$(BIN)/recsys-spark warm > /dev/null
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Installing recsys-spark with the developers' tools (once, a few minutes)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@$(BIN)/recsys-spark warm > /dev/null
	@touch $@ $(VENV)/.run
