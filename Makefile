# `make demo` and `make test` need nothing first: both set up what is missing.

VENV := .venv/bin
WORKERS ?= 2
TESTS ?=

.PHONY: help setup demo test lint check engines

help:
	@echo 'make demo    train on handwritten digits, compare with ngspice, leave two netlists'
	@echo 'make test    run the tests'
	@echo 'make check   run ruff, pyright and the tests, as CI does'
	@echo 'make setup   make .venv, and install ngspice where that is missing and allowed'
	@echo 'make engines install more simulators for the tests, where a registry has them; none is a need'

setup:
	@tools/setup.sh

demo: setup
	@$(VENV)/python -m analog_ep demo

engines: setup
	@tools/engines.sh

test: setup
	OMP_NUM_THREADS=1 $(VENV)/python -m pytest -n $(WORKERS) $(TESTS)

lint: setup
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/pyright

check: lint test
