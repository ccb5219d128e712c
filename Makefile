# Two commands do everything: `make table` and `make test`. Python 3.11 or newer is all they need.
PYTHON ?= python3
BIN := .venv/bin
EXTRAS ?= test,cluster,crate,iqa,bm3d,demosaicing,spandrel,alignment,audit,training,figures,onnx,dvclive

export PATH := $(CURDIR)/$(BIN):$(PATH)
# The tests start more than a thousand processes: none should compile the package anew.
unexport PYTHONDONTWRITEBYTECODE
# The data mirror, if there is one: a folder or a URL. `make table HARNESS_MIRROR=/data/mirror`
ifdef HARNESS_MIRROR
export HARNESS_MIRROR
endif

.PHONY: help table test mutations train-smoke venv lint docs report clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /	/' | expand -t 14

table: $(BIN)/.installed ## Install, then make and print a first table on embedded images through DVC
	@harness first-table

test: $(BIN)/.installed-test ## Install with every extra, then run the tests
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadscope --no-loadscope-reorder -q

mutations: $(BIN)/.installed-test ## Take the guards of docs/reliability.md away one by one; the tests must notice (an hour)
	@$(BIN)/python tests/faults/mutations.py $(FAULTS)

train-smoke: $(BIN)/.installed-test ## Train two small networks for minutes on BSD400, compare them on CBSD68, plot the curves
	@harness train train-smoke --budget smoke
	@harness repro train-smoke
	@harness report curves --out work/training/train-smoke.svg

venv: $(BIN)/.installed-test ## Make .venv with everything installed

lint: $(BIN)/.installed-lint ## Check style, types, formatting, and that the pipelines are up to date
	@ruff check .
	@ruff format --check .
	@mypy
	@lint-imports --no-cache
	@harness pipeline --check
	@harness tables --write-counts README.md --check

docs: $(BIN)/.installed-docs ## Write the reference and the pages of docs/ to work/docs/index.html
	@mkdocs build --strict --quiet

report: $(BIN)/.installed ## Make the site results/site/index.html from what was measured
	@harness report

clean: ## Remove the environment and everything computed (data/ stays)
	rm -rf .venv work

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; set PYTHON=python3.12 or so" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv .venv

$(BIN)/.installed: $(BIN)/python pyproject.toml constraints.txt
	@echo "installing into .venv (a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(BIN)/.installed-test: $(BIN)/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

$(BIN)/.installed-lint: $(BIN)/.installed-test
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS),lint]'
	@touch $@

$(BIN)/.installed-docs: $(BIN)/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@
