PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-slow lint bench clean

# One stamp for all installs: `make demo` and `make test` both work on a fresh machine.
$(STAMP): pyproject.toml constraints.txt requirements-dev.txt plugins/prompt-to-prompt/pyproject.toml plugins/inversion/pyproject.toml plugins/asyrp/pyproject.toml models/picturebook/pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -r requirements-dev.txt
	touch $@

demo: $(STAMP)
	$(BIN)/python -m underpaint edit prompt-to-prompt --source "a cat on grass" --prompt "a dog on grass" --seed 8 -o demo-out

test: $(STAMP)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not slow"

test-slow: $(STAMP)
	$(BIN)/python -m pytest -q

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)
	for name in latency overhead throughput; do $(BIN)/python -m benchmarks.$$name || exit 1; done

clean:
	rm -rf $(VENV) demo-out
