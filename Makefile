# make baselines   set up and run the main job on the built-in demo data
# make test        set up and run the tests, but for the slow ones
# make quick       tests that train nothing, in at most two minutes: for every save
# make test-slow   the slow tests: kills, networks that fail, whole runs of all models
# make test-newest all tests with the newest versions that setup.py allows, of Python too
# make check       lint, types and import rules
# make docs      build the site into build/docs, with its tutorials run
# make bench       measure speed, as ratios
# make musicnn     install the weights of musicnn's taggers, for cs-keras embed
# make basic-pitch install the network of basic-pitch, for cs-keras embed --encoder notes
# make lock        resolve the versions in requirements.lock anew

VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help baselines test quick test-slow test-newest check docs bench musicnn basic-pitch lock format clean

help:
	@sed -n 's/^# make/make/p' Makefile

baselines: $(READY)
	$(BIN)/cs-keras run-baselines

# A test process for each core; the tests of one file stay together, since they share what they have made. Files run in
# the order of the tree: by default those of few tests, which are the longest ones, would come last.
# `make test ARGS=--durations=10` prints the ten slowest.
PYTEST = $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder $(ARGS)

test: $(READY)
	$(PYTEST) -m "not slow"

quick: $(READY)
	$(PYTEST) -m "not slow and not medium"

test-slow: $(READY) $(VENV)/.spark $(VENV)/.mlflow musicnn basic-pitch
	$(PYTEST) -m slow

# Apache Beam holds NumPy below 2.5, so its tests come last.
# PySpark is 490 MB, which only these tests need; without Java they are skipped.
$(VENV)/.spark: requirements-spark.lock $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-spark.lock
	@touch $@

# MLflow's client, which only these tests need.
$(VENV)/.mlflow: requirements-mlflow.lock $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-mlflow.lock
	@touch $@

test-newest: BIN := .venv-newest/bin
test-newest:
	@sh .ci/install-newest .venv-newest dev
	$(PYTEST) -k "not beam"
	@sh .ci/install-newest .venv-newest dask,dev
	$(PYTEST) -k beam

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Notebooks run once for each version of their text. CS_KERAS_DOCS_TRACKS is the size of their demo.
docs: $(VENV)/.docs
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going docs build/docs
	@echo "Written: build/docs/index.html"

$(VENV)/.docs: requirements-docs.lock $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-docs.lock
	@touch $@

bench: $(READY)
	$(BIN)/python -m benchmarks.run

# Packages of which only the weights are used, so without their dependencies: musicnn pins NumPy below 1.17.
musicnn: $(VENV)/.musicnn-0.1.0
basic-pitch: $(VENV)/.basic-pitch-0.4.0

$(VENV)/.musicnn-%: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps musicnn==$*
	@touch $@

$(VENV)/.basic-pitch-%: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps basic-pitch==$*
	@touch $@

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(READY)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --extra dask --extra tfio --no-header --no-annotate \
	    --upgrade --output-file requirements.lock setup.py
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra spark --no-header --no-annotate \
	    --upgrade --constraints requirements.lock setup.py | grep -E '^(pyspark|py4j)==' > requirements-spark.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra mlflow --no-header --no-annotate \
	    --upgrade setup.py | awk -F'==' 'NR == FNR {locked[$$1]; next} !($$1 in locked)' requirements.lock - > requirements-mlflow.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra docs --no-header --no-annotate \
	    --upgrade --constraints requirements.lock setup.py | awk -F'==' 'NR == FNR {locked[$$1]; next} !($$1 in locked)' requirements.lock - > requirements-docs.lock

clean:
	rm -rf $(VENV) .venv-newest build dist *.egg-info

# The versions come from the lock file, so that every machine runs what was tested; the project itself is linked.
$(READY): setup.py requirements.lock
	@python=$$(PYTHON="$(PYTHON)" sh .ci/find-python 3.11 3.12) && { test -x $(BIN)/python || "$$python" -m venv $(VENV); }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $(READY)
