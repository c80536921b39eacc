# make demo    train a small GPT guarded, then sabotage it twice and watch both being caught; leaves HTML reports
# make test    every check and test, as CI runs them
# make soak    the slow proofs, and the properties of the tests on many more examples; takes hours
#
# Which torch: TORCH is what pip is asked to install. Empty means none: bring your own, with
#   make demo TORCH= VENV_FLAGS=--system-site-packages

VENV       ?= .venv
# The first one on the path that is not the environment's own, should that be active.
PYTHON     ?= $(firstword $(filter-out $(abspath $(VENV))/%,$(shell which -a python3.11 python3)))
VENV_FLAGS ?=
TORCH      ?= torch==2.13.0

BIN    := $(VENV)/bin
CHOICE := $(VENV).choice

.DEFAULT_GOAL := help
.PHONY: help demo test soak lint format docs bench clean always

help:
	@sed -n 's/^# //p' Makefile

demo: $(BIN)/.ready-demo
	$(BIN)/veracity demo

test: $(BIN)/.ready-dev
	$(BIN)/python scripts/check.py

soak: $(BIN)/.ready-dev
	$(BIN)/python scripts/check.py --soak

lint: $(BIN)/.ready-dev
	$(BIN)/python scripts/check.py --lint

format: $(BIN)/.ready-dev
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format --quiet .

docs: $(BIN)/.ready-dev
	$(BIN)/python scripts/generate_docs.py

bench: $(BIN)/.ready-dev
	$(BIN)/python bench/overhead.py

clean:
	rm -rf $(VENV) $(CHOICE) build dist .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

# The environment is made anew when the choice of Python or torch changes, and brought up to date when
# pyproject.toml does. The demo's needs less than the tests'; both live in the same folder.
$(CHOICE): always
	@echo '$(PYTHON) $(VENV_FLAGS) $(TORCH)' | cmp -s - $@ || echo '$(PYTHON) $(VENV_FLAGS) $(TORCH)' > $@

$(BIN)/.ready-torch: $(CHOICE)
	$(PYTHON) -m venv --clear $(VENV_FLAGS) $(VENV)
	$(if $(strip $(TORCH)),$(BIN)/python -m pip install --quiet $(TORCH))
	@touch $@

$(BIN)/.ready-demo: $(BIN)/.ready-torch pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[pyspy]'
	@touch $@

# Where the tools of other projects (interop) are not to be had, the tests that need them are skipped.
$(BIN)/.ready-dev: $(BIN)/.ready-torch pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[pyspy,dev,interop]' || \
	    $(BIN)/python -m pip install --quiet --editable '.[pyspy,dev]'
	@touch $@
