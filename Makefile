# Sets up, runs and checks Gavel. Everything lands in .venv; nothing global, nothing that git shows as untracked.
SHELL := /bin/bash
PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: install run test test-gateway test-others cover bench soak fmt audit sbom

install: $(STAMP)

# Pip runs only when the pinned set changed. The build backend is installed first, from the same pins, so that
# nothing is resolved in an isolated build of its own. Kernels are compiled anew when a solver changed: numba does not
# see that a kernel in another file, which it inlined, is a different one now.
$(STAMP): pyproject.toml constraints.txt $(wildcard solvers/*.py solvers/*/*.py)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Gavel needs Python 3.11 or newer; say which with make PYTHON=…")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@cat pyproject.toml constraints.txt | cmp -s - .venv/.pins || { \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt hatchling editables && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation -c constraints.txt -e '.[dev]' && \
		cat pyproject.toml constraints.txt > .venv/.pins; }
	@rm -f solvers/__pycache__/*.nb[ci] solvers/*/__pycache__/*.nb[ci]
	@$(BIN)/python -m solvers.warm
	@touch $(STAMP)

run: install
	@$(BIN)/gavel demo $(ARGS)

# The door's tests wait for sockets and processes half of the time, so they run beside the others; what is chosen by ARGS runs at once.
test: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
ifeq ($(ARGS),)
	@$(MAKE) --no-print-directory --jobs=2 --keep-going --output-sync=target test-gateway test-others
else
	$(BIN)/python -m pytest -W error $(ARGS)
endif

test-gateway:
	$(BIN)/python -m pytest -W error tests/gateway

test-others:
	$(BIN)/python -m pytest -W error --ignore=tests/gateway

# Which lines the tests run. Apart from `test`, which it makes longer by a quarter.
cover: install
	$(BIN)/python -m pytest -W error --cov --cov-branch --cov-report=term $(ARGS)

soak: install
	$(BIN)/python -m pytest -W error --soak -o faulthandler_timeout=0 $(ARGS)

bench: install
	@$(BIN)/gavel bench $(ARGS)

fmt: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Known weaknesses of what is pinned. Asks the vulnerability service, so it needs the net; `make test` does not.
audit: install
	$(BIN)/pip-audit --disable-pip --no-deps -r constraints.txt $(ARGS)

# A bill of what is installed, as CycloneDX has it.
sbom: install
	@mkdir -p build
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --of JSON -o build/sbom.json $(BIN)/python
