# make course   install, run every notebook, leave them as web pages, print the results table; called again it goes on where
#               it stopped (FRESH=1: begin anew; PROFILE=gpu: on a GPU, see docs/teaching.md)
# make lab      install, open the notebooks in JupyterLab
# make check    the checks while working: lint, types and the fast tests, two minutes (SINCE=main: see CONTRIBUTING.md)
# make test     install, run every check
# make bench    install the peers apart, run every comparison, print the tables (ARGS="--photographs folder:PATH")
# TORCH=cpu      with any of those above but bench: torch without CUDA, from PyTorch's own index (or cu130, or another that it has)
# Without make (Windows): see "Without make" in README.md; the tools do the work.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet -c constraints.txt

# The profile of the course, where one is asked for (an environment may have a PROFILE of another kind).
ifeq ($(origin PROFILE),command line)
export SIMCLR_EDU_PROFILE := $(PROFILE)
endif
# Which build of torch; empty: the one that the default index has, on Linux with CUDA. What was chosen once stays chosen.
TORCH ?= $(patsubst $(VENV)/.torch-%,%,$(firstword $(wildcard $(VENV)/.torch-*)))

.PHONY: install course lab slides check test bench notebooks sync figures clean

# All that any of the other targets needs, and nothing run.
install: $(VENV)/.dev

course: $(VENV)/.course
	$(BIN)/python tools/course.py $(if $(FRESH),--fresh)

lab: $(VENV)/.course
	$(BIN)/python tools/lab.py

slides: $(VENV)/.course
	$(BIN)/python tools/slides.py

check: $(VENV)/.dev
	$(BIN)/python tools/check.py --fast $(if $(SINCE),--since $(SINCE))

test: $(VENV)/.dev
	$(BIN)/python tools/check.py

bench: .venv-bench/.done
	.venv-bench/bin/python benchmarks/report.py $(ARGS)

# For authors: run the notebooks from their sources and save the outputs.
notebooks: $(VENV)/.dev
	$(BIN)/python tools/run_notebooks.py --home build/notebooks --fresh
	$(BIN)/python tools/figures.py

# For authors: bring the notebooks up to date with their sources, outputs kept.
sync: $(VENV)/.dev
	$(BIN)/python tools/sync.py

# For authors: fill in what README, docs and interview quote from the runs, say what does not agree; draw the method.
figures: $(VENV)/.dev
	$(BIN)/python tools/figures.py
	$(BIN)/python tools/method_picture.py

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)

# Both alone, from that index alone: what they depend on comes with the rest. In a .venv that has another build of the
# same version, pip would call it installed; hence --force-reinstall.
ifneq ($(TORCH),)
$(VENV)/.torch-$(TORCH): constraints.txt | $(BIN)/python
	$(PIP) --no-deps --force-reinstall --index-url https://download.pytorch.org/whl/$(TORCH) torch torchvision
	rm -f $(VENV)/.torch-*
	touch $@

$(VENV)/.course $(VENV)/.dev: $(VENV)/.torch-$(TORCH)
endif

$(VENV)/.course: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[course,slides]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[test,dev]'
	touch $@ $(VENV)/.course

# The peers' own requirements must not decide the course's versions, so they live apart.
.venv-bench/.done: pyproject.toml constraints.txt benchmarks/requirements.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet -c constraints.txt -e . -r benchmarks/requirements.txt
	touch $@

clean:
	rm -rf $(VENV) .venv-bench build .pytest_cache .hypothesis .mypy_cache .ruff_cache *.egg-info
