# Everything runs in the project's own environment, .venv, which the first target that needs it sets up.

PYTHON  ?= python3
WORKERS ?= 2
BIN     := .venv/bin
READY   := .venv/.ready
STARTED := .venv/.started
DOCS    := .venv/.docs

# Real data for the tests that want it; without it they skip and say so.
ifndef LOWERBOUND_DATA
ifneq ($(wildcard ../shared/data/.),)
export LOWERBOUND_DATA := $(abspath ../shared/data)
endif
endif

# One thread per worker: more would only compete for the same cores.
# Files stay whole, so that what the tests of one share is made once.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist loadfile

.PHONY: help setup demo test test-all gpu fuzz wheel lint format lock docs clean

help:
	@echo "make demo      fit a model to the digits that come with scikit-learn; results in runs/"
	@echo "make test      lint, types, import contracts, then every test not marked slow"
	@echo "make test-all  the same, slow tests included"
	@echo "make gpu       on a machine with a CUDA device: the tests marked gpu and benchmarks, in pieces of ten minutes"
	@echo "make fuzz      hostile inputs through the command: make fuzz N=5000 SEED=1; failures in build/fuzz"
	@echo "make wheel     build the source distribution and the wheel, and test it from an environment of its own"
	@echo "make lint      ruff, pyright and the import contracts"
	@echo "make format    let ruff rewrite the sources"
	@echo "make lock      requirements.lock and requirements-cuda.lock, with hashes, from constraints.txt"
	@echo "make docs      the site, in build/docs: pages whose code is executed, and a reference made of the docstrings"
	@echo "make clean     remove caches and build products (runs/ and .venv stay)"

setup: $(READY)

demo: $(READY)
	$(BIN)/lowerbound fit digits --out runs/digits-$$(date +%Y%m%d-%H%M%S)

# pytest fails by itself (exit status 5) when it has collected nothing or deselected everything.
test: lint
	$(PYTEST) -m "not slow"

test-all: lint
	$(PYTEST)

# Each piece is saved in benchmarks/results/gpu as it ends; the same command goes on where it ended early.
gpu: $(READY)
	$(BIN)/python -c "import sys, torch; sys.exit(None if torch.cuda.is_available() else 'There is no CUDA device here.')"
	$(BIN)/python benchmarks/gpu.py

# An input with a fault is written down, and run again by: make fuzz SEED=1 INDEX=17
N     ?= 1000
SEED  ?= 0
INDEX ?=
fuzz: $(READY)
	cd tests && OMP_NUM_THREADS=1 PYTHONPATH=support ../$(BIN)/python -m fuzz $(N) $(SEED) ../build/fuzz $(INDEX)

# The wheel is made from the source distribution. pip fetches `build` and the build backend, or has them in its cache;
# the rest needs no network (see .ci/wheel.py).
wheel: $(READY)
	rm -rf build/wheel && mkdir -p build/wheel
	$(BIN)/python -m venv build/wheel/tools
	build/wheel/tools/bin/pip install --disable-pip-version-check --quiet build
	build/wheel/tools/bin/python -m build --outdir build/wheel . > build/wheel/log || { cat build/wheel/log; exit 1; }
	$(BIN)/python -m venv build/wheel/env
	OMP_NUM_THREADS=1 $(BIN)/python .ci/wheel.py build/wheel

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The hashes of all files of the versions in constraints.txt, and of the build of torch that pip finds on this machine.
LOCKED := pip compile pyproject.toml --quiet --universal --python-version 3.11.5 --extra dev --extra docs -c constraints.txt \
	--generate-hashes --no-annotate --no-header --no-emit-index-url
TORCH  := $(shell grep '^torch==' constraints.txt)

lock: $(READY)
	rm -rf build/lock && mkdir -p build/lock
	$(BIN)/python -m venv build/lock/env && build/lock/env/bin/pip install --quiet uv
	$(BIN)/python -m pip download --quiet --no-deps --dest build/lock $(TORCH)
	build/lock/env/bin/uv $(LOCKED) -o build/lock/all
	$(BIN)/python .ci/lock.py build/lock/all build/lock/torch-*.whl

# Without a network, once the tools are there; every warning is an error. The code of tutorials and course is executed
# anew (four to six minutes on one core, by WORKERS processes) where a page or the library has changed, and kept in
# build/executed otherwise.
docs: $(DOCS)
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx --quiet --jobs $(WORKERS) --fail-on-warning --keep-going -b html docs build/docs
	@echo "Open build/docs/index.html"

$(DOCS): $(READY) pyproject.toml constraints.txt
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e ".[dev,docs]"
	@touch $(DOCS)

clean:
	rm -rf docs/api build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests -type d -name __pycache__ -prune -exec rm -rf {} +

# READY is written last. STARTED left behind by an earlier attempt means that it did not finish: what pip had
# half copied may look installed, so the environment is then made anew.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "lowerbound needs Python 3.11 or later and '$(PYTHON)' is not: run 'make PYTHON=/path/to/python3.11'." >&2; exit 1; }
	@if test -e $(STARTED) || ! $(BIN)/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
		echo "Setting up .venv (once; a few minutes, most of it torch)"; \
		$(PYTHON) -m venv --clear .venv || \
		{ echo "'$(PYTHON) -m venv' failed: install its venv module (on Debian or Ubuntu the package python3-venv)." >&2; exit 1; }; \
	fi
	@rm -f $(READY) && touch $(STARTED)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e ".[dev]"
	@rm -f $(STARTED)
	@touch $(READY)
