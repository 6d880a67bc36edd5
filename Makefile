# `make demo` and `make test` need Python 3.11+, make and git; everything else is installed into .venv.
PYTHON ?= python3
VENV := .venv
VLLM_VENV := .venv-vllm
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PACKAGES := kb ingest retrieval api

.PHONY: setup demo test fuzz test-vllm check bench bench-splitting bench-loaders bench-retrieval bench-answers bench-web clean

setup: $(VENV)/installed

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("kb-server needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing the server into $(VENV) (once) …"
	$(PIP) --editable '.[cpu]'
	@touch $@

$(VENV)/installed-test: $(VENV)/installed
	@echo "Installing what the tests need (once; torch among it) …"
	$(PIP) --editable '.[test]'
	@touch $@

# Start the server, upload data/samples through the API, ask in Chinese and English. ONCE=1 ends it afterwards.
demo: $(VENV)/installed
	@$(BIN)/python deploy/demo.py $(if $(ONCE),--once)

# Two processes share the files of tests, JOBS=1 is one alone. On two idle cores that takes a third off the time; on a
# machine that others keep busy it gains nothing.
JOBS ?= 2
test: $(VENV)/installed-test
	$(BIN)/python -m pytest $(if $(filter-out 1,$(JOBS)),-n $(JOBS) --dist loadfile)

# The property tests alone, each with examples that it did not have before; ROUNDS=20 repeats them.
ROUNDS ?= 1
fuzz: $(VENV)/installed-test
	@for round in $$(seq $(ROUNDS)); do KB_TEST_FUZZ=1 $(BIN)/python -m pytest -q -m hypothesis || exit 1; done

# A vLLM for processors, in an environment of its own: its packages clash with ours. The source package of
# llama-cpp-python is not installed; Qwen's vocabulary and chat template are read out of it.
$(VLLM_VENV)/installed: tests/vllm/requirements.txt tests/vllm/finish_environment.py
	@echo "Installing vLLM for the processor into $(VLLM_VENV) (once; some minutes, 2.5 GB) …"
	$(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --requirement tests/vllm/requirements.txt
	$(VLLM_VENV)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec triton
	$(VLLM_VENV)/bin/python tests/vllm/finish_environment.py
	$(VLLM_VENV)/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --no-binary llama-cpp-python \
		--dest $(VLLM_VENV)/share llama-cpp-python==0.3.36
	@touch $@

# The chat model, the server, its OpenAI endpoint, `kb llm serve` and `kb doctor` against a real vLLM with a tiny Qwen2.5
# of random weights.
test-vllm: $(VENV)/installed-test $(VLLM_VENV)/installed
	$(BIN)/python -m pytest tests/vllm

check: $(VENV)/installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/installed-test
	$(BIN)/python bench/walk.py

$(VENV)/installed-bench: $(VENV)/installed-test
	@echo "Installing what splitting and retrieval are measured beside (once) …"
	$(PIP) --editable '.[bench]'
	@touch $@

bench-splitting: $(VENV)/installed-bench
	$(BIN)/python bench/splitting.py

bench-retrieval: $(VENV)/installed-bench
	$(BIN)/python bench/retrieving.py $(if $(MILLION),--million)
	$(BIN)/python bench/embedding.py

# What a streamed answer costs on its way through the server, beside the same stream from the chat server directly.
# VLLM=1 asks the vLLM of `make test-vllm` instead of a chat server that costs nothing.
bench-answers: $(VENV)/installed-test $(if $(VLLM),$(VLLM_VENV)/installed)
	$(BIN)/python bench/$(if $(VLLM),beside_vllm,answers).py

bench-loaders: $(VENV)/installed-test
	$(BIN)/python bench/loaders.py

# A web site of 500 pages on loopback: crawled until it is searchable, and nights of it in which nothing or little changed.
bench-web: $(VENV)/installed-test
	$(BIN)/python bench/web.py

clean:
	rm -rf $(VENV) $(VLLM_VENV)
