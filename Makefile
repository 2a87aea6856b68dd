# What a person types. Each target first makes the checkout ready (tools/setup.sh: .venv,
# node_modules, a browser), which is quick when nothing has changed.
VENV_PYTHON := .venv/bin/python
SETUP := @$(SHELL) tools/setup.sh

.PHONY: help demo test test-all lint bench bench-gpu bench-laptop array-api

help:
	@echo "make demo    train on this machine and in a browser page, side by side"
	@echo "make test    the tests (ARGS='-k name' to choose)"
	@echo "make test-all   the whole table of operations on every engine; goes on where it stopped"
	@echo "make lint    ruff, mypy and tsc"
	@echo "make bench   tabgrad beside its peers in one browser (ONLY=regex ROUNDS=n)"
	@echo "make bench-gpu   the same on WebGPU and WebGL2, on the software adapter (ONLY=, ROUNDS=)"
	@echo "make bench-laptop   what compiling and eager operations cost here"
	@echo "make array-api      the Array API's conformance suite (SUITE=its checkout)"

demo:
	$(SETUP) demo
	@$(VENV_PYTHON) -m examples.demo

test:
	$(SETUP) test
	@$(VENV_PYTHON) -m pytest --quiet --numprocesses 2 --dist loadfile -m "not exhaustive" $(ARGS)

test-all:
	$(SETUP) test
	@$(VENV_PYTHON) -m pytest --quiet --numprocesses 2 --dist loadfile -m exhaustive --ignore tests/ops/test_table.py
	@$(VENV_PYTHON) -m tests.ops.results $(ARGS)

lint:
	$(SETUP) lint
	@$(VENV_PYTHON) tools/lint.py

bench:
	$(SETUP) bench
	@$(VENV_PYTHON) -m bench.run $(if $(ONLY),--only "$(ONLY)") $(if $(ROUNDS),--rounds $(ROUNDS)) $(ARGS)

bench-gpu:
	$(SETUP) bench
	@$(VENV_PYTHON) -m bench.gpu $(if $(ONLY),--only "$(ONLY)") $(if $(ROUNDS),--rounds $(ROUNDS)) $(ARGS)

bench-laptop:
	$(SETUP) bench
	@$(VENV_PYTHON) -m bench.laptop $(ARGS)

array-api:
	$(SETUP) test
	@$(VENV_PYTHON) -m tools.array_api $(SUITE) $(ARGS)
