VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.PHONY: search test check

# The main job on the embedded data set: about a minute and a half on two cores.
search: $(STAMP)
	$(PYTHON) jobs/nb201_search.py --batch-size 64 --num-validations 20

test: $(STAMP)
	$(PYTHON) -m pytest

check: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(PYTHON) -m pytest

$(STAMP): requirements.lock pyproject.toml
	python3.11 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --requirement requirements.lock
	$(PYTHON) -m pip install --quiet --no-deps --editable .
	touch $(STAMP)
