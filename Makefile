# Every target sets up what it needs by itself; `scripts/setup.sh` does nothing when that is already there.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup setup-demo demo serve docs test lint bench package clean

PY := .venv/bin/python

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install everything, for development
	@PYTHON="$(PYTHON)" sh scripts/setup.sh venv dev
	@sh scripts/setup.sh azurite
	@sh scripts/setup.sh browser
	@sh scripts/setup.sh kusto

setup-demo: ## Install what the demo needs
	@PYTHON="$(PYTHON)" sh scripts/setup.sh venv demo

demo: setup-demo ## Break deployments on this machine and watch them being repaired
	@$(PY) -m local.cli demo

serve: setup-demo ## Run the functions and a simulated Azure on this machine
	@$(PY) -m local.cli serve

docs: setup-demo ## Write docs/causes.md, from the catalogue
	@$(PY) -m local.cli causes --markdown > docs/causes.md.new && mv docs/causes.md.new docs/causes.md

lint: setup ## Check style and types
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy

test: lint ## The whole gate: style, types, tests
	@if [ -z "$$MEDIC_RESEARCH" ]; then \
		echo "MEDIC_RESEARCH is not set: tests against the research folder are not collected"; fi
	@$(PY) -m pytest -n 4 --dist loadfile --no-loadscope-reorder

bench: setup-demo ## Measure speed beside peers, which it installs into .bench (BENCH="--only cold-start --rounds 3")
	@$(PY) -m benchmarks $(BENCH)

package: setup-demo ## Build dist/endpoint-medic.zip, what is deployed to Azure
	@$(PY) scripts/package.py

clean: ## Remove what the tools and the demo left, also .venv
	rm -rf .venv .tools .bench .medic dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
