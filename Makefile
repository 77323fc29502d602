# Two commands on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DOCS_STAMP := $(VENV)/.installed-docs

.PHONY: demo test check lint layers types doctest tests examples fast slow docs bench-engine bench-kernels bench-search bench-losses bench-methods bench clean install

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt skimb/kernels/_cpu.c
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV)"
	@# torch first and by its exact version: a range could bring a build with gigabytes of CUDA
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt "$$(grep '^torch==' constraints.txt)"
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $(STAMP)

$(DOCS_STAMP): $(STAMP)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[docs]"
	@touch $(DOCS_STAMP)

demo: $(STAMP)
	$(BIN)/python examples/plot_01_main_job.py

test: check

check: lint layers types doctest tests examples

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

layers: $(STAMP)
	$(BIN)/lint-imports

types: $(STAMP)
	$(BIN)/mypy

doctest: $(STAMP)
	$(BIN)/python -m pytest -q --doctest-modules skimb -p no:cacheprovider
	$(BIN)/python -m pytest -q --doctest-glob='*.md' README.md docs -p no:cacheprovider

tests: $(STAMP)
	$(BIN)/python -m pytest -q -m "not slow" tests

examples: $(STAMP)
	SKIMB_FAST=1 $(BIN)/python -m pytest -q tests/examples_runner.py

fast: $(STAMP)
	$(BIN)/python -m pytest -q -x -m "not slow" tests/test_losses.py tests/test_engine.py

slow: $(STAMP)
	$(BIN)/python -m pytest -q -m slow tests

docs: $(DOCS_STAMP)
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

bench: bench-engine bench-kernels bench-search

bench-engine: $(STAMP)
	@mkdir -p docs/benchmarks
	$(BIN)/python tests/bench/bench_engine.py --write docs/benchmarks/engine.md

bench-kernels: $(STAMP)
	@mkdir -p docs/benchmarks
	$(BIN)/python tests/bench/bench_kernels.py --write docs/benchmarks/kernels.md

bench-search: $(STAMP)
	@mkdir -p docs/benchmarks
	$(BIN)/python tests/bench/bench_search.py --write docs/benchmarks/search.md

# DATA: a folder of parquet files, see tests/bench/bench_losses.py
bench-losses: $(STAMP)
	@mkdir -p docs/benchmarks
	$(BIN)/python tests/bench/bench_losses.py --data $(DATA) --write docs/benchmarks/losses.md

# DATA: as for bench-losses; without it only simulations and bundled sets
bench-methods: $(STAMP)
	@mkdir -p docs/benchmarks
	$(BIN)/python tests/bench/bench_methods.py $(if $(DATA),--data $(DATA)) --write docs/benchmarks/methods.md

clean:
	rm -rf $(VENV) docs/_build docs/auto_examples docs/api/generated demo_output
