# Two commands on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
KERNELS := skimb/kernels/_cpu.c skimb/kernels/_columns.h skimb/kernels/_products.h
DOCS_STAMP := $(VENV)/.installed-docs

# the oldest supported versions have wheels for Python 3.11 and 3.12 only
OLDEST_PYTHON ?= $(PYTHON)
OLDEST := .venv-oldest
OLDEST_STAMP := $(OLDEST)/.installed
# what feels another version of scikit-learn, imbalanced-learn or skorch first
VERSION_TESTS := tests/test_versions.py tests/test_datasets.py tests/test_frame.py tests/test_estimators.py tests/test_engine.py \
  tests/test_meta_contracts.py tests/test_metrics.py tests/test_posthoc.py tests/test_presto.py tests/test_resampling.py \
  tests/test_small_classifiers.py tests/test_streaming.py tests/test_thresholds.py tests/test_sklearn_mlp.py

# packages that the pages in docs/neighbours need
NEIGHBOURS := .venv-neighbours
NEIGHBOURS_STAMP := $(NEIGHBOURS)/.installed

# processes of the test run, one thread each
WORKERS ?= 2

.PHONY: demo test oldest newest check lint layers types doctest tests examples fast slow names docs links wheel extras claim bench-engine bench-kernels bench-search bench-losses bench-methods bench-tables bench-tabm bench-tabm-search bench-gpu bench benchmark clean install bench-text neighbours

install: $(STAMP)

$(STAMP): pyproject.toml setup.py constraints.txt $(KERNELS)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV)"
	@# torch first and by its exact version: a range could bring a build with gigabytes of CUDA
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt "$$(grep '^torch==' constraints.txt)"
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $(STAMP)

$(DOCS_STAMP): $(STAMP)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[docs]"
	@touch $(DOCS_STAMP)

$(OLDEST_STAMP): pyproject.toml setup.py constraints-oldest.txt $(KERNELS)
	@test -x $(OLDEST)/bin/python || $(OLDEST_PYTHON) -m venv $(OLDEST)
	@echo "installing into $(OLDEST)"
	@$(OLDEST)/bin/python -m pip install --quiet --constraint constraints-oldest.txt "$$(grep '^torch==' constraints-oldest.txt)"
	@$(OLDEST)/bin/python -m pip install --quiet --constraint constraints-oldest.txt --editable ".[test]"
	@touch $(OLDEST_STAMP)

$(NEIGHBOURS_STAMP): pyproject.toml setup.py constraints.txt $(KERNELS)
	@test -x $(NEIGHBOURS)/bin/python || $(PYTHON) -m venv $(NEIGHBOURS)
	@echo "installing into $(NEIGHBOURS)"
	@$(NEIGHBOURS)/bin/python -m pip install --quiet --constraint constraints.txt "$$(grep '^torch==' constraints.txt)"
	@$(NEIGHBOURS)/bin/python -m pip install --quiet --constraint constraints.txt --editable ".[test,neighbours]"
	@touch $(NEIGHBOURS_STAMP)

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

doctest: export OMP_NUM_THREADS = 1
doctest: $(STAMP)
	$(BIN)/python -m pytest -q -n $(WORKERS) -p no:cacheprovider --doctest-modules skimb \
	  --doctest-glob='*.md' --doctest-glob='*.rst' README.md docs/start.rst docs/guide docs/benchmarks

tests: $(STAMP)
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile -m "not slow" tests

examples: $(STAMP)
	SKIMB_FAST=1 $(BIN)/python -m pytest -q -n $(WORKERS) tests/examples_runner.py

fast: $(STAMP)
	$(BIN)/python -m pytest -q -x -m "not slow" tests/test_losses.py tests/test_engine.py

oldest: $(OLDEST_STAMP)
	$(OLDEST)/bin/python -m pytest -q -n $(WORKERS) --dist loadfile -m "not slow" $(VERSION_TESTS)

# warns, never fails: what the next releases will break
newest:
	@$(PYTHON) .ci/newest.py $(VERSION_TESTS)

# the code of docs/neighbours with every package that it imports
neighbours: $(NEIGHBOURS_STAMP)
	$(NEIGHBOURS)/bin/python -m pytest -q tests/neighbours tests/test_catboost.py

slow: $(STAMP)
	$(BIN)/python -m pytest -q -m slow tests

# after a public name, a loss or its docstring has changed
names: $(STAMP)
	$(BIN)/python docs/generate_names.py

docs: $(DOCS_STAMP)
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

# every link of the documentation answers
links: $(DOCS_STAMP)
	$(BIN)/python -m sphinx -W --keep-going -b linkcheck -D plot_gallery=0 docs docs/_build/links

# sources and a wheel; the wheel tried in empty environments, with C kernels and without a compiler
wheel:
	PYTHON=$(PYTHON) .ci/wheel

# the wheel with each extra in an empty environment, and with none; EXTRAS="plot none" for some
extras:
	$(PYTHON) .ci/extras.py $(EXTRAS)

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

# needs a CUDA device
bench-gpu: $(STAMP)
	@mkdir -p docs/benchmarks
	$(BIN)/python tests/bench/bench_gpu.py --write docs/benchmarks/gpu.md

# DATA: a folder of parquet files, see tests/bench/bench_losses.py
bench-losses: $(STAMP)
	@mkdir -p docs/benchmarks
	$(BIN)/python tests/bench/bench_losses.py --data $(DATA) --write docs/benchmarks/losses.md

# DATA: as for bench-losses, SETS: names with commas between; without them no real sets
bench-tabm: $(STAMP)
	@mkdir -p docs/benchmarks
	$(BIN)/python tests/bench/bench_tabm.py $(if $(DATA),--data $(DATA) --sets $(SETS)) --write docs/benchmarks/tabm.md

# as for bench-tabm
bench-tabm-search: $(STAMP)
	@mkdir -p docs/benchmarks
	$(BIN)/python tests/bench/bench_tabm_search.py $(if $(DATA),--data $(DATA) --sets $(SETS)) --write docs/benchmarks/tabm_search.md

# DATA: as for bench-losses; without it only simulations and bundled sets
bench-methods: $(STAMP)
	@mkdir -p docs/benchmarks
	$(BIN)/python tests/bench/bench_methods.py $(if $(DATA),--data $(DATA)) --write docs/benchmarks/methods.md

# DATA: a folder of parquet files, see skimb.benchmark; a run that was stopped goes on; ARGS="--limit 600 --sets ..." for less
SUITES ?= binary multiclass
benchmark: $(STAMP)
	$(BIN)/python -m skimb.benchmark --data $(DATA) --suite $(SUITES) --write docs/benchmarks $(ARGS)

# suites of two and of several classes on one page
bench-tables:
	@$(MAKE) benchmark ARGS="--write docs/benchmarks/tables.md --title 'Classifiers at their defaults, on tables' $(ARGS)"

# DATA: a folder of parquet files with texts, see tests/bench/bench_text.py; a run that was stopped goes on; needs wordllama
bench-text: $(STAMP)
	@mkdir -p docs/benchmarks
	$(BIN)/python tests/bench/bench_text.py --data $(DATA) --write docs/benchmarks/text.md $(ARGS)

# one claim of a paper beside ours: make claim NAME=label_noise; those that read sets need DATA=folder
claim: $(STAMP)
	$(BIN)/python tests/bench/claims/$(NAME).py $(if $(DATA),--data $(DATA)) $(ARGS)

clean:
	rm -rf $(VENV) $(OLDEST) $(NEIGHBOURS) .venv-newest docs/_build docs/auto_examples docs/api/generated demo_output build dist
