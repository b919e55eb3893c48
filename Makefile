# Three commands for a clean checkout: `make demo` runs the whole way on real pictures, `make test` runs the tests,
# `make check` reads the code as CI does (`make format` mends what can be mended by itself).
# All make .venv with pinned packages, install glorext into it and, but for the checks, build the C++ programs; what is done is skipped.
# Another MindSpore of those that are supported, in an environment of its own: make test MINDSPORE=2.7.1
MINDSPORE :=
VENV := .venv$(if $(MINDSPORE),-$(MINDSPORE))
PINS := $(if $(MINDSPORE),$(VENV)/requirements.txt,requirements.txt)
PY := $(VENV)/bin/python
CPP := $(shell find deploy/cpp deploy/runners -type f ! -name '*.pyc' 2>/dev/null)
SYSTEM_PACKAGES := g++ cmake make libjpeg-dev libpng-dev doctest-dev
# The compiler's own view of what the C++ part includes: programs on PATH say nothing about headers.
HEADERS := '\#include <cstdio>\n\#include <jpeglib.h>\n\#include <png.h>\n\#include <doctest/doctest.h>\n'
HAVE_SYSTEM = command -v cmake >/dev/null 2>&1 && command -v g++ >/dev/null 2>&1 && \
	printf $(HEADERS) | g++ -x c++ -fsyntax-only - 2>/dev/null
# Each version of it formats a little differently; 14 is Debian 12's.
CLANG_FORMAT_14 = clang-format --version 2>/dev/null | grep -q 'version 14\.'

# Reads the files it is given as Python 3.10 does; the Python that runs it, where that is 3.10 itself, is the judge.
define AS_OLDEST
import ast, pathlib, sys
names = sys.stdin.read().split("\0")[:-1]
if not names:
    sys.exit("glorext: git lists no Python files: run this in a git checkout")
for name in names:
    if pathlib.Path(name).exists():
        text = pathlib.Path(name).read_text(encoding="utf-8")
        compile(ast.parse(text, name, feature_version=(3, 10)), name, "exec")
endef
export AS_OLDEST

.PHONY: help demo test bench check lint types syntax cpp-format format evidence install native release clean
.DELETE_ON_ERROR:

help:
	@echo "make demo        the whole way on real pictures: train, publish, load, convert, infer, check (4 minutes)"
	@echo "make test        the tests (10 minutes); MINDSPORE=2.7.1 with another MindSpore, PYTEST_ARGS='...' some of them"
	@echo "make bench       glorext beside its peers, on a quiet machine; ONLY=load,index some of it, DATA=FOLDER with your photographs"
	@echo "make check       lint, format, types and syntax, as CI reads them; make format mends what mends itself"
	@echo "make install     .venv with pinned packages and glorext, editable; make native: and the C++ programs"
	@echo "make evidence    the readmes' table of hardware, from evidence/"
	@echo "make release     dist/: a wheel and a source distribution, checked, and the wheel tried in an empty environment"
	@echo "make clean       removes what make has made"

demo: native
	@$(VENV)/bin/glorext demo --out demo_out

# A process for each core, up to four: MindSpore takes 1 to 2 GB in each. The tests of a file share what it builds.
test: native
	@$(PY) -m pytest -n auto --maxprocesses 4 --dist loadfile $(PYTEST_ARGS)

# What is compared with goes into an environment of its own, build/peers; the results into benchmarks/results.
bench: native
	@$(PY) benchmarks/run.py $(if $(ONLY),--only '$(ONLY)') $(if $(DATA),--data '$(DATA)') $(if $(ARCHIVE),--archive '$(ARCHIVE)') $(BENCH_ARGS)

check: lint types syntax cpp-format

lint: install
	@$(VENV)/bin/ruff check --quiet . && $(VENV)/bin/ruff format --quiet --check .

# By src's links and what pyproject.toml names: an installed copy of glorext is not looked at.
types: install
	@$(VENV)/bin/mypy --no-error-summary

# Where a Python 3.10 is on the machine, or named (make syntax OLDEST=/path/to/python3.10), it compiles the files itself.
OLDEST = $(firstword $(shell for p in python3.10 $(PY); do $$p -c '' 2>/dev/null && echo $$p; done))
syntax: install
	@git ls-files -z --cached --others --exclude-standard '*.py' | $(OLDEST) -c "$$AS_OLDEST"

cpp-format:
	@if $(CLANG_FORMAT_14); then clang-format --dry-run -Werror $(filter %.cc %.h,$(CPP)); \
	else echo "glorext: no clang-format 14 on PATH: the format of the C++ files is not checked" >&2; fi

format: install
	@$(VENV)/bin/ruff check --quiet --fix-only . && $(VENV)/bin/ruff format --quiet .
	@if $(CLANG_FORMAT_14); then clang-format -i $(filter %.cc %.h,$(CPP)); fi

# The readmes' table of hardware, from the chips that are known and what `glorext acceptance` found (evidence/).
evidence: install
	@$(PY) -m glorext.deploy.acceptance.hardware .

# Built from what git has, not from what lies about; the wheel is installed with everything it asks for and used there.
RELEASE_TOOLS := build==1.6.1 twine==7.0.0
release: install
	@test -z "$$(git status --porcelain)" || { echo "glorext: a release is made of committed files only; git status shows others" >&2; exit 1; }
	@rm -rf dist .venv-release .venv-tried build/release && mkdir -p build/release
	@$(PY) -m venv .venv-release && .venv-release/bin/pip install -q $(RELEASE_TOOLS)
	@git archive HEAD | tar -x -C build/release
	@.venv-release/bin/python -m build --outdir dist build/release >build/release.log 2>&1 || { tail -n 20 build/release.log >&2; exit 1; }
	@.venv-release/bin/twine check --strict dist/*
	@$(PY) -m venv .venv-tried && .venv-tried/bin/pip install -q dist/*.whl
	@.venv-tried/bin/glorext --version && .venv-tried/bin/glorext list >/dev/null
	@cd build && ../.venv-tried/bin/python -c 'import glorext, mindspore_hub; assert "venv-tried" in glorext.__file__; glorext.create("resnext50")'
	@ls -l dist

install: $(VENV)/.glorext
native: $(VENV)/.native

$(VENV)/.made:
	@found=; why=; for p in $(or $(PYTHON),python3.12 python3.11 python3.10 python3 python); do \
	  if $$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && \
	    why=$$($$p runtime/mindspore_versions.py $(MINDSPORE)); then found=$$p; break; fi; done; \
	if [ -z "$$found" ] && [ -n "$$why" ]; then echo "glorext: $$why" >&2; exit 1; fi; \
	if [ -z "$$found" ]; then \
	  echo "glorext: needs Python 3.10, 3.11 or 3.12 with venv, found $$($(or $(PYTHON),python3) --version 2>&1 | tail -n 1): install one (Debian: apt-get install python3-venv) or name it: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; fi; \
	rm -rf $(VENV); $$found -m venv $(VENV) && touch $@

$(VENV)/.pinned: requirements.txt $(VENV)/.made
	@$(if $(MINDSPORE),sed 's/^mindspore==.*/mindspore==$(MINDSPORE)/' requirements.txt >$(PINS))
	@echo "glorext: installing pinned packages into $(VENV) (about 3 GB on disk; one to three minutes)"
	@$(PY) -m pip install --quiet --retries 2 --disable-pip-version-check --log $(VENV)/pip.log -r $(PINS) \
	  >$(VENV)/pip.out 2>&1 || { tail -n 1 $(VENV)/pip.out >&2; \
	  echo "glorext: the pinned packages could not be installed: check the network, proxy or package index, then run make again; the whole story is in $(VENV)/pip.log" >&2; exit 1; }
	@touch $@

# Editable, by src/glorext's links to the rooms: what the tests run is this checkout. That a wheel forgets no file is a
# test of its own (tests/whole_way/test_install.py).
$(VENV)/.glorext: setup.py pyproject.toml $(VENV)/.pinned
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . \
	  >$(VENV)/pip.out 2>&1 || { cat $(VENV)/pip.out >&2; exit 1; }
	@touch $@

$(VENV)/.system:
	@$(HAVE_SYSTEM) || { \
	  if [ "$$(id -u)" = 0 ]; then as=; elif sudo -n true 2>/dev/null; then as="sudo -n"; else as=no; fi; \
	  if [ "$$as" != no ] && command -v apt-get >/dev/null 2>&1; then \
	    echo "glorext: installing system packages: $(SYSTEM_PACKAGES)"; \
	    { $$as apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$as apt-get install -qq -y $(SYSTEM_PACKAGES); } >/dev/null 2>&1; fi; \
	  $(HAVE_SYSTEM) || { echo "glorext: the C++ part needs g++, cmake and the headers of libjpeg, libpng and doctest: run as root: apt-get install $(SYSTEM_PACKAGES)" >&2; exit 1; }; }
	@mkdir -p $(VENV) && touch $@

# MindSpore Lite is fetched once into the cache and the C++ programs are built there.
$(VENV)/.native: $(CPP) $(VENV)/.glorext $(VENV)/.system
	@$(VENV)/bin/glorext native >/dev/null
	@touch $@

clean:
	rm -rf .venv .venv-* build dist src/*.egg-info demo_out
