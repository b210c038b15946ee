# Every target installs what it needs first (scripts/setup); see README.md.
SHELL := /bin/bash
export PATH := $(CURDIR)/.venv/bin:$(CURDIR)/.cache/uv/bin:$(PATH)
# Some machines forbid it; every command that starts Python is a third slower then.
unexport PYTHONDONTWRITEBYTECODE
scenarios := $(notdir $(patsubst %/molecule.yml,%,$(wildcard molecule/*/molecule.yml)))
python := scripts/setup python

.PHONY: help setup demo demo-admin demo-ssh demo-down lint unit sanity controllers matrix test clean
help:  ## this list
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 16
	@echo "scenario-<name>  one of: $(scenarios)"

setup:  ## install what the other targets need: Python environment, Docker, images
	@scripts/setup

demo: setup  ## a throw-away server with a Django site on https://127.0.0.1:8443/
	@scripts/demo

demo-admin:  ## make a user for the demo's administration
	@scripts/demo-admin

demo-ssh:  ## a shell on the demo's server
	@tools/bed.py ssh demo

demo-down:  ## remove the demo
	@$(python)
	@scripts/demo-down
	@scripts/teardown

lint:  ## style, types, spelling, generated files
	@$(python)
	@scripts/lint

unit:  ## unit tests, no container
	@$(python)
	@pytest tests/unit

sanity:  ## ansible-test sanity and galaxy-importer
	@$(python)
	@scripts/sanity

controllers: setup  ## unit tests with the oldest and the newest ansible-core, in containers
	@scripts/controllers

matrix: setup  ## every combination of the alternatives on a server of its own; writes docs/matrix.md (hours)
	@scripts/matrix

test: setup  ## everything, side by side (JOBS=2); ends with "N passed, N failed"
	@scripts/test

scenario-%: setup  ## one Molecule scenario
	@scripts/molecule test -s $*

clean:  ## remove everything that the other targets made
	@if docker info >/dev/null 2>&1 && [ -x .venv/bin/python ]; then tools/bed.py clean; scripts/teardown; fi
	rm -rf .venv .cache .demo .ansible .mypy_cache .ruff_cache .pytest_cache .hypothesis
