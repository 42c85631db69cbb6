# `make demo` and `make test` need nothing first: both set up what is missing.

VENV := .venv/bin
WORKERS ?= 2
TESTS ?=

.PHONY: help setup demo test lint check engines docs package lowest

help:
	@echo 'make demo    train on handwritten digits, compare with ngspice, leave two netlists'
	@echo 'make test    run the tests'
	@echo 'make check   run ruff, pyright and the tests, as CI does'
	@echo 'make docs    build the documentation into build/site; a broken link fails'
	@echo 'make package build wheel and sdist into dist/, and try the wheel in an empty environment'
	@echo 'make lowest  run quick tests with the lowest versions of packages that are allowed'
	@echo 'make setup   make .venv, and install ngspice where that is missing and allowed'
	@echo 'make engines install more simulators for the tests, where a registry has them; none is a need'

setup:
	@tools/setup.sh

demo: setup
	@$(VENV)/python -m analog_ep demo

engines: setup
	@tools/engines.sh

docs: setup
	@$(VENV)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	@NO_MKDOCS_2_WARNING=1 $(VENV)/python -m mkdocs build --strict
	@echo 'the documentation is build/site/index.html'

package: setup
	@$(VENV)/python -m pip install --quiet --disable-pip-version-check build
	@$(VENV)/python tools/package.py

lowest: setup
	@$(VENV)/python tools/lowest.py

# Containers often forbid bytecode: each of hundreds of processes would compile all the sources. Tests of a file share
# what its fixtures make, which worksteal has them do in one process.
test: setup
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(VENV)/python -m pytest -n $(WORKERS) --dist worksteal $(TESTS)

lint: setup
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/pyright

check: lint test
