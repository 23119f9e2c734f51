VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.installed
# What makes the environment: the first of these that is there and no older than 3.11, or PYTHON3=... of yours.
PYTHON3 ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c "$(IS_NEW_ENOUGH)" 2>/dev/null && { echo $$python; break; }; done)
IS_NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
# A process per core with one thread each, whole files at a time: torch's threads would get into each other's way.
# A test that hangs where no signal reaches it ends its process, and without that process the run ends: pytest-xdist waits
# for ever for what is left of the last file.
PYTEST := OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n auto --dist loadfile --no-loadscope-reorder \
	--max-worker-restart 0 -o faulthandler_timeout=900 -o faulthandler_exit_on_timeout=true

.PHONY: search test check site wheel

# The main job on the embedded data set: about a minute and a half on two cores.
search: $(STAMP)
	$(VENV)/bin/zcpt search --space nasbench201 --batch-size 64 --num-validations 20

test: $(STAMP)
	$(PYTEST)

check: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(PYTEST)

# The documentation as a site, in build/site/, for a browser; it also works from a folder.
site: $(STAMP)
	$(PYTHON) -m pip install --quiet --requirement docs/site/requirements.txt
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build

# What pip installs, in build/wheel/; build/ may hold modules that are gone.
wheel: $(STAMP)
	rm -rf build
	$(PYTHON) -m pip wheel --quiet --no-deps --wheel-dir build/wheel .

$(STAMP): requirements.lock pyproject.toml | $(PYTHON)
	$(PYTHON) -m pip install --quiet --requirement requirements.lock
	$(PYTHON) -m pip install --quiet --no-deps --editable .
	touch $(STAMP)

$(PYTHON):
	@$(or $(PYTHON3),false) -c "$(IS_NEW_ENOUGH)" 2>/dev/null || { \
		echo "no Python from 3.11 on is here; install one, or name it: make PYTHON3=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON3) -m venv $(VENV)
