SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PY := .venv/bin/python
STAMP := .venv/.installed

.PHONY: help
help:  ## List the targets.
	@awk -F ':.*## ' '/^[a-z][-a-z0-9]*:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: install
install: $(STAMP)  ## Make .venv with all that is needed; at once where it is up to date.

$(STAMP): pyproject.toml dev/install.sh
	dev/install.sh
	@touch $@

.PHONY: generate
generate: install  ## Write what is made from the models: crds/, the chart's copy, the reference in docs/.
	$(PY) -m sdxl_operator.crd
	$(PY) -m dev.chart
	$(PY) -m dev.docs

.PHONY: format
format: install  ## Correct style and format where ruff can.
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

.PHONY: lint
lint: install  ## Style and format (ruff).
	@$(PY) -m dev.tiers lint

.PHONY: types
types: install  ## Types (mypy, strict).
	@$(PY) -m dev.tiers types

.PHONY: contracts
contracts: install  ## Who may import whom (import-linter).
	@$(PY) -m dev.tiers contracts

.PHONY: unit
unit: install  ## Tests that need nothing but Python.
	@$(PY) -m dev.tiers unit

.PHONY: conformance
conformance: install  ## Tests that every backend passes over HTTP, on the simulated device and on the CPU.
	@$(PY) -m dev.tiers conformance

.PHONY: page
page: install  ## Tests of the web page in Chromium, which is installed where it is missing and this is root on Debian.
	@$(PY) -m dev.tiers page

.PHONY: contract
contract: install  ## Tests of what operator and runtime agree on.
	@$(PY) -m dev.tiers contract

.PHONY: charts
charts: install  ## Tests of the chart: linted, rendered, read.
	@$(PY) -m dev.tiers charts

.PHONY: apiserver
apiserver: install  ## Tests against a real API server with etcd, on loopback.
	@$(PY) -m dev.tiers apiserver

.PHONY: e2e
e2e: install  ## Tests on the real cluster: brings it up, builds and loads the images, installs the chart.
	@$(PY) -m dev.tiers e2e

.PHONY: test
test: install  ## All of the above in order, with the seconds of each.
	@$(PY) -m dev.tiers

.PHONY: test-long
test-long: install  ## What takes longer: a failure before and after every single write.
	@$(PY) -m dev.tiers long

.PHONY: bench-runtime
bench-runtime: .venv/.installed-bench  ## The runtime against what one would write instead, side by side; hours.
	$(PY) -m benchmarks.runtime
	$(PY) -m benchmarks.page

.PHONY: bench-bank
bench-bank: install  ## What a tune bank brings, and what edits cost; on the local cluster, an hour.
	$(PY) -m benchmarks.tune_bank
	$(PY) -m benchmarks.page --no-plots

.venv/.installed-bench: $(STAMP)
	.venv/bin/uv pip install -q --python $(PY) -e '.[bench]' || $(PY) -m pip install -q -e '.[bench]'
	@touch $@

.PHONY: demo
demo: install  ## Cluster, images, chart, a service, and a contact sheet of its pictures; goes on where it stopped.
	$(PY) -m dev.demo

.PHONY: demo-down
demo-down: install  ## Remove what `make demo` made, the cluster included.
	$(PY) -m dev.demo down

.PHONY: cluster-up
cluster-up: install  ## A local Kubernetes: kind where Docker answers, else made from its Go module.
	$(PY) -m dev.cluster up

.PHONY: cluster-down
cluster-down: install  ## Stop and remove that Kubernetes.
	$(PY) -m dev.cluster down

.PHONY: clean
clean:  ## Remove .venv and what builds and tests left here; the cache of the cluster's programs stays.
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
