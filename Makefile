# `make demo` and `make test` need Python 3.11+ and make; they set up everything else in .venv.
PYTHON ?= python3
BIN := .venv/bin
PLUGINS := $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml))

.PHONY: demo test lint format bench reproduce clean
.DEFAULT_GOAL := help
.PHONY: help

help:
	@printf "%-16s%s\n" "make demo" "classify held-out digits by a model found by name, then list the zoo"
	@printf "%-16s%s\n" "make test" "run all tests (ZOO_DATA=DIR for those that need real data)"
	@printf "%-16s%s\n" "make lint" "ruff and mypy"
	@printf "%-16s%s\n" "make format" "let ruff rewrite what it can"
	@printf "%-16s%s\n" "make bench" "start-up time; see benchmarks/ for more"
	@printf "%-16s%s\n" "make reproduce" "show the papers' claims on real data (ZOO_DATA=DIR); takes an hour"
	@printf "%-16s%s\n" "make clean" "remove what the above made"

# The set-up, made anew when a pyproject.toml or setup.cfg changes. Tests and demo use
# the plugins' extras of these names.
$(BIN)/.ready: pyproject.toml setup.cfg $(addsuffix /pyproject.toml,$(PLUGINS))
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --group test --group lint \
		--editable ".[reproduce]" $(foreach plugin,$(PLUGINS),--editable "$(plugin)[demo,train,test]")
	@touch $@

demo: $(BIN)/.ready
	$(BIN)/zoo demo

test: $(BIN)/.ready
	$(BIN)/python -m pytest

lint: $(BIN)/.ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(BIN)/.ready
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(BIN)/.ready
	$(BIN)/python benchmarks/startup.py

# Every claim of the papers on real data, with a report each below reproduce/; see `zoo reproduce`.
reproduce: $(BIN)/.ready
	$(foreach plugin,$(PLUGINS),$(BIN)/zoo reproduce $(notdir $(plugin)) && ) true

clean:
	rm -rf .venv build dist demo reproduce *.egg-info plugins/*/*.egg-info plugins/*/build
	rm -rf .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find zoo zoo_core plugins tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
