# firstboot: the two commands are `make demo` and `make test`; each sets up what it needs.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: help setup demo test faults soak bench fuzz lint bundle clean
.DEFAULT_GOAL := help

help:
	@echo "make demo                  boot a virtual board twice and watch it introduce itself"
	@echo "     [TRANSPORT=mqtt|http|coap] [TLS=1] [CREDENTIALS=token|server|basic|derived|x509]"
	@echo "     [UPDATE=1], and then updates itself over the air"
	@echo "make test [ARGS=...]       lint and every test; ARGS go to pytest"
	@echo "make faults                every power cut and network fault, where make test draws a sample"
	@echo "make soak MINUTES=n        boards against a server that restarts, stalls, refuses and limits; nothing may get lost"
	@echo "make bench                 measure heap, speed and size beside the alternatives: build/bench.json"
	@echo "make fuzz [INPUTS=...]     a million mutated inputs for everything a board reads, with a seed of its own"
	@echo "make lint                  ruff, and mypy on tools/"
	@echo "make bundle                build/: firstboot compiled for boards, as ZIP file and for mip"
	@echo "make clean                 remove build/ and the virtual environment"

setup: $(READY)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "firstboot needs Python 3.10 or newer: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "no venv module: on Debian, apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(READY)
	@$(BIN)/python -m tools.demo $(if $(TRANSPORT),--transport $(TRANSPORT)) $(if $(filter-out 0 no off false,$(TLS)),--tls) \
	  $(if $(CREDENTIALS),--credentials $(CREDENTIALS)) $(if $(filter-out 0 no off false,$(UPDATE)),--update)

test: lint
	$(BIN)/python -m pytest -n auto $(ARGS)

faults: $(READY)
	FAULTS=all $(BIN)/python -m pytest host_tests/faults $(ARGS)

soak: $(READY)
	@$(BIN)/python -m tools.soak --minutes $(or $(MINUTES),1) $(ARGS)

bench: $(READY)
	$(BIN)/python -m tools.bench $(ARGS)

fuzz: $(READY)
	FUZZ=$(or $(INPUTS),1000000) FUZZ_SEED=$(or $(SEED),$$(date +%s)) $(BIN)/python -m pytest host_tests/faults/hostile $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/mypy

bundle: $(READY)
	@$(BIN)/python -m tools.bundle

clean:
	rm -rf build $(VENV)
