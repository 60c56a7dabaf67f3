# Everything runs in .venv, made on first use. PYTHON: 3.11, 3.12 or 3.13.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: demo test lint bench clean

# Trains all three models by all three methods on the built-in stand-in, then reports.
demo: $(VENV)/.installed
	$(RUN) -m sslbench.train -m experiment=demo
	$(RUN) -m sslbench.report

# One thread each: threads of two tests on the same cores would wait for each other. Three at a time,
# as tests that kill commands wait for them.
test: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(RUN) -m pytest --numprocesses 3 --dist loadfile

lint: $(VENV)/.installed
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

bench: $(VENV)/.installed
	$(RUN) -m pip install --quiet --constraint constraints.txt --editable ".[bench]"
	$(RUN) -m benchmarks.all

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --upgrade pip
	$(RUN) -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) outputs
