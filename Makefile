VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.installed
# A process per core with one thread each, whole files at a time: torch's threads would get into each other's way.
PYTEST := OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n auto --dist loadfile --no-loadscope-reorder

.PHONY: search test check

# The main job on the embedded data set: about a minute and a half on two cores.
search: $(STAMP)
	$(PYTHON) jobs/nb201_search.py --batch-size 64 --num-validations 20

test: $(STAMP)
	$(PYTEST)

check: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(PYTEST)

$(STAMP): requirements.lock pyproject.toml
	python3.11 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --requirement requirements.lock
	$(PYTHON) -m pip install --quiet --no-deps --editable .
	touch $(STAMP)
