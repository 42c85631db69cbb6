# `make demo` and `make test` need nothing first: both set up what is missing.

VENV := .venv/bin
WORKERS ?= 2

.PHONY: help setup demo test lint check

help:
	@echo 'make demo    train on handwritten digits, compare with ngspice, leave two netlists'
	@echo 'make test    run the tests'
	@echo 'make check   run ruff, pyright and the tests, as CI does'
	@echo 'make setup   make .venv, and install ngspice where that is missing and allowed'

setup:
	@tools/setup.sh

demo: setup
	@$(VENV)/python -m analog_ep demo

test: setup
	OMP_NUM_THREADS=1 $(VENV)/python -m pytest -n $(WORKERS)

lint: setup
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/pyright

check: lint test
