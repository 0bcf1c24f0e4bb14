# Two commands: `make demo` and `make test`. Each sets up .venv once, from constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2

.PHONY: demo test test-full lint setup setup-dev constraints clean

demo: setup
	$(BIN)/tal demo --out demo

# Workers share the cores: one thread each, or they wait for each other.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test: lint
	$(PYTEST) -m "not full"

test-full: lint
	$(PYTEST)

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/mypy

setup: $(VENV)/.installed
setup-dev: $(VENV)/.installed-dev

# uv installs in half a minute; pip is the way where uv cannot reach the registry that pip is set up for.
INSTALL = $(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e
INSTALL_SLOWLY = $(BIN)/python -m pip install --quiet -c constraints.txt -e

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tal needs Python >= 3.11, this is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv || true

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) . || $(INSTALL_SLOWLY) .
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) '.[dev]' || $(INSTALL_SLOWLY) '.[dev]'
	touch $@ $(VENV)/.installed

constraints: setup-dev
	$(BIN)/uv pip freeze --quiet --python $(BIN)/python --exclude-editable | grep -v -E '^(pip|uv|setuptools)==|@' > constraints.new
	mv constraints.new constraints.txt

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
