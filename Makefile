# make book and make test do everything; make help lists the rest.
SHELL := /bin/sh
.DEFAULT_GOAL := help

# A slip such as `make book epsilon=0.05` would set a variable that nobody reads.
GIVEN := $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name)))
UNKNOWN := $(filter-out PROFILE DATASET CHAPTER PARAMETERS RUNS CHECK PYTHON RELEVANCE_DATA RELEVANCE_DEVICE MAKE% -%,$(GIVEN))
ifneq ($(UNKNOWN),)
$(error $(UNKNOWN): not a variable of this Makefile; parameters of chapters go into PARAMETERS="name=value ...")
endif

# Nothing that is given is run: from here on these hold the text as it was typed, in which make expands nothing more, and recipes
# reach it through the environment, where no shell reads it as a command.
$(foreach name,PROFILE DATASET CHAPTER PARAMETERS RUNS CHECK PYTHON RELEVANCE_DATA RELEVANCE_DEVICE,\
    $(if $(filter-out undefined,$(origin $(name))),$(eval override export $(name) := $$(value $(name)))))

VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed

# PyTorch asks the kernel for huge pages: large tensors come and go all the time, and in small pages getting them can cost
# more than computing them.
export THP_MEM_ALLOC_ENABLE ?= 1

PROFILE ?= quick
DATASET ?=
CHAPTER ?=
PARAMETERS ?=
RUNS ?=
CHECK ?=
book chapter: export RELEVANCE_PROFILE := $(PROFILE)
book chapter: export RELEVANCE_DATASET := $(DATASET)
book chapter: export RELEVANCE_PARAMETERS := $(PARAMETERS)
chapter: export RELEVANCE_CHAPTER := $(CHAPTER)
lab: export RELEVANCE_CHAPTER := $(or $(CHAPTER),explore)
record: export RELEVANCE_RUNS := $(RUNS)

.PHONY: book chapter pdf record test test-slow test-cpus bench differences lab help clean distclean lock format

book: $(INSTALLED) ## execute what changed and print the book: PROFILE=quick|paper, DATASET=mnist-5k|digits|mnist|fashion_mnist|cifar10|a folder
	$(if $(CHAPTER),$(error CHAPTER is for a single chapter: make chapter CHAPTER=$(CHAPTER)))
	@$(PY) -m relevance.pages.press

chapter: $(INSTALLED) ## execute one chapter: CHAPTER=method/lrp-robustness PARAMETERS="epsilon=0.1 n_images=50"
	@$(PY) -m relevance.pages.press

pdf: $(INSTALLED) ## print the book that make book left as one PDF, _build/resilient-relevance.pdf; needs Chromium
	@$(PY) -m relevance.pages.press.pdf

# Processes for the tests: more than four would only wait for the longest file.
SPREAD := -n auto --maxprocesses 4 --dist loadfile

test: $(INSTALLED) ## lint, type check, and run the tests
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(PY) -m pytest -m "not slow" $(SPREAD)
	@echo "Left to .ci/run: the slow tests (make test-slow), other CPUs (make test-cpus), and the printed book in a browser."

test-slow: $(INSTALLED) ## the tests that kill processes, print a book or open a browser, and the campaign of bad input
	$(PY) -m pytest -m slow $(SPREAD) --durations=10

test-cpus: $(INSTALLED) ## the stochastic tests as other CPUs would round: three of the levels of instructions that this one has
	@$(PY) tests/cpus.py

lab: $(INSTALLED) ## open a chapter as a notebook in JupyterLab: CHAPTER=method/lrp-robustness; the playground without
	@[ -f "book/$$RELEVANCE_CHAPTER.md" ] || { \
	    printf 'make: there is no chapter %s; _toc.yml lists them, such as explore.\n' "$$RELEVANCE_CHAPTER" >&2; exit 1; }
	@[ -z "$$RELEVANCE_DATA" ] || export RELEVANCE_DATA="$$(realpath "$$RELEVANCE_DATA")"; \
	JUPYTER_CONFIG_PATH="$(CURDIR)/.jupyter" $(VENV)/bin/jupyter lab --notebook-dir=. \
	    $(if $(filter 0,$(shell id -u)),--allow-root) "--LabApp.default_url=/lab/tree/book/$$RELEVANCE_CHAPTER.md"

bench: $(INSTALLED) ## what maps, inference and attacks cost, beside other libraries
	$(PY) benchmarks/relevance_maps.py
	$(PY) benchmarks/inference.py
	$(PY) benchmarks/sampler.py
	$(PY) benchmarks/attacks.py
	$(PY) benchmarks/playground.py

record: $(INSTALLED) ## record the runs of book/runs.yml in data/recorded: RUNS="mnist-dense"; may be stopped, and goes on; CHECK=1 repeats the smallest, and compares
	@$(PY) -m relevance.pages.press.recording $(if $(CHECK),--check)

differences: $(INSTALLED) ## where zennit and captum differ from the published formulas: writes data/recorded/library-differences.csv
	$(PY) benchmarks/differences.py

format: $(INSTALLED) ## put the code into the project's format
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

lock: ## resolve the dependencies anew (needs uv)
	python3 requirements/lock.py

clean: ## remove what was built: notebooks, pages, caches
	rm -rf _build .pytest_cache .mypy_cache .ruff_cache .hypothesis

distclean: clean ## remove the virtual environment too
	rm -rf $(VENV) .uv lib/*.egg-info

help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(INSTALLED): $(wildcard requirements/*.txt requirements/web/*.json) requirements/install.sh
	@requirements/install.sh $(VENV)
	@touch $@
