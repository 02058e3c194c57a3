PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo docs test test-slow lint bench bench-quality clean

# One stamp for all installs: `make demo` and `make test` both work on a fresh machine.
$(STAMP): pyproject.toml constraints.txt requirements-dev.txt $(wildcard plugins/*/pyproject.toml) models/picturebook/pyproject.toml
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

# Open site/index.html, or with the search: python -m http.server -d site
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

bench: $(STAMP)
	for name in latency overhead throughput; do $(BIN)/python -m benchmarks.$$name || exit 1; done

# Seven minutes on two free cores; the report is picturebench-out/quick/report.html.
bench-quality: $(STAMP)
	$(BIN)/python -m benchmarks.picturebench --methods quick --engine openvino --steps 12 --limit 60 --out picturebench-out/quick

clean:
	rm -rf $(VENV) demo-out picturebench-out site
