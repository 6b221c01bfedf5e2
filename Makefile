# The front door. CI knows no other. `make` prints help.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
# Images often set it; then each start of Python compiles 1,000 files anew, which takes longer than what it does.
export PYTHONDONTWRITEBYTECODE :=
UV := $(shell command -v uv 2>/dev/null || echo .tools/bin/uv)
BIN := .venv/bin
RUN := $(BIN)/python
PACKAGES := .venv/.packages
INSTALLED := .venv/.installed
NODES ?= 0
KWOK_NODES ?= $(if $(filter-out 0,$(NODES)),0,3)

help: ## This list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.tools/bin/uv:
	@echo "fetching uv (no uv on PATH) ..."
	@python3 -m venv .tools && .tools/bin/pip install -q --disable-pip-version-check 'uv>=0.5'

$(PACKAGES): requirements-dev.lock pyproject.toml | $(filter .tools/bin/uv,$(UV))
	@echo "installing kubesteer and its tools into .venv (about 20 s with an empty cache) ..."
	@[ -x $(BIN)/python ] || $(UV) venv -q --python '>=3.11' .venv
	@# Wheels only: nothing of a package runs while it is installed. etcd3, an extra, has none.
	@$(UV) pip install -q --python $(BIN)/python --require-hashes --only-binary :all: --no-binary etcd3 -r requirements-dev.lock
	@$(UV) pip install -q --python $(BIN)/python --no-deps -e .
	@touch $@

# The compiled helper where there is a compiler; without one everything works, slower.
$(INSTALLED): $(PACKAGES) extender/wire/_names.c
	@$(RUN) -m extender.wire.compile_names
	@touch $@

install: $(INSTALLED) ## Everything kubesteer needs, into .venv

run: $(INSTALLED) ## Start the extender on loopback with an example cluster
	@$(RUN) -m extender --config examples/kubesteer.yaml

try: $(INSTALLED) ## Ask where a few pods would go, and why
	@$(RUN) -m tools.try_example

test: $(INSTALLED) ## All tests that need no Go, with a real etcd, on all cores (about 2.5 minutes on two)
	@$(RUN) -m pytest -n auto --dist worksteal

examples: $(INSTALLED) ## The tests by random examples, each with all of them instead of a fifth (1 minute)
	@EXAMPLES=1 $(RUN) -m pytest -n auto --dist worksteal -m hypothesis

lint: $(INSTALLED) ## Style, and file sizes
	@$(BIN)/ruff check --output-format concise .
	@$(BIN)/ruff format --check -q .
	@$(RUN) -m tests.file_sizes

types: $(INSTALLED) ## mypy --strict
	@$(BIN)/mypy

arrows: $(INSTALLED) ## Imports go one way
	@$(BIN)/lint-imports --no-logo

check: lint types arrows test ## Everything a commit must pass (about 4 minutes)

cluster-binaries: $(INSTALLED) ## Build the real control plane (about 10 minutes the first time)
	@$(RUN) -m tools.cluster build controlplane own kwok helm netpol

older-binaries: cluster-binaries ## Build older minors and cert-manager, for e2e-all (about 14 minutes the first time)
	@$(RUN) -m tools.cluster build older scheduler-1.35 scheduler-1.36 certmanager

node-binaries: cluster-binaries ## What real nodes need: Debian packages (as root), kubelet, containerd, CoreDNS, images (about 6 minutes)
	@$(RUN) -m tools.cluster nodes

E2E = $(RUN) -m pytest tests/e2e tests/network_probes --override-ini addopts= -q -ra --strict-markers -p no:schemathesis --timeout 600

e2e: node-binaries ## The real kube-scheduler and API server 1.37 with KWOK, and one story on real nodes (about 22 minutes)
	@$(E2E) -m "story or not (real_nodes or older or overlays or availability)"

e2e-all: older-binaries node-binaries ## All that is real: nodes, older minors, overlays, faults, availability; ends with a summary (60 minutes)
	@$(MAKE) examples
	@$(E2E)

image: $(INSTALLED) ## Build localhost/kubesteer (IMAGE= another name; BASE= BUILD_BASE= other bases; BASE=local makes both)
	@$(RUN) -m tools.image $(if $(IMAGE),--name $(IMAGE)) $(if $(BASE),--base $(BASE)) $(if $(BUILD_BASE),--build-base $(BUILD_BASE))

cluster: $(if $(filter-out 0,$(NODES)),node-binaries,cluster-binaries) ## Start the real control plane and leave it running; NODES=3, as root: a whole cluster, kubesteer's image in it
	@$(if $(filter-out 0,$(NODES)),image=$$($(RUN) -m tools.image --cached); )\
	$(RUN) -m tools.cluster up --nodes $(KWOK_NODES) --real-nodes $(NODES) $(if $(filter-out 0,$(NODES)),--image "$$image")

cluster-down: $(INSTALLED) ## Stop it
	@$(RUN) -m tools.cluster down

CLUSTER_FLAGS = $(if $(CONTEXT),--context $(CONTEXT))

deploy: $(INSTALLED) ## kubesteer onto your cluster: checked, and proven by a pod (OVERLAY= IMAGE= CONTEXT=; YES=1 does not ask)
	@$(BIN)/kubesteer deploy $(CLUSTER_FLAGS) $(if $(OVERLAY),--overlay $(OVERLAY)) $(if $(IMAGE),--image $(IMAGE)) $(if $(YES),--yes)

undeploy: $(INSTALLED) ## Remove it, and show that nothing is left (CONTEXT=; KEEP_DATA=1 keeps the volumes; YES=1)
	@$(BIN)/kubesteer undeploy $(CLUSTER_FLAGS) $(if $(KEEP_DATA),--keep-data) $(if $(YES),--yes)

status: $(INSTALLED) ## How it stands there, and what is wrong (CONTEXT=)
	@$(BIN)/kubesteer status $(CLUSTER_FLAGS)

bench: cluster-binaries ## Measure speed side by side; writes docs/benchmarks.md (about 15 minutes)
	@$(RUN) -m tests.bench

bench-short: cluster-binaries ## The same, short, writing nothing
	@$(RUN) -m tests.bench --short

bench-gate: cluster-binaries ## Ratios with bounds, as CI holds them: fails where half the speed is lost (2 minutes)
	@$(RUN) -m tests.bench.gate

bench-rewards: $(INSTALLED) ## How good the learning is, simulated on the real engine; writes docs/rewards.md (SHORT=1: less, writing nothing)
	@$(RUN) -m tests.bench.rewards $(if $(SHORT),--short)

availability: cluster-binaries ## Scheduling while kubesteer, etcd, API server, network and certificates fail; writes docs/operations.md (12 minutes; needs haproxy)
	@$(RUN) -m tests.availability

bench-agent: $(INSTALLED) ## Memory and CPU of an idle agent on a node with 110 pods (1 minute)
	@$(RUN) -m tests.bench.agent_footprint

demo-rewards: cluster-binaries ## Watch pods leave a bad node and come back once it is repaired (2 minutes)
	@$(RUN) -m tools.demo.rewards

fuzz: $(INSTALLED) ## 1,000,000 random, mutated and adversarial requests (FUZZ=n for another number)
	@$(RUN) -m tests.fuzz --requests $(or $(FUZZ),1000000)

audit: $(INSTALLED) ## Supply chain: hashes, wheels, licences; known vulnerabilities where the service is reachable (ONLINE=required|never)
	@$(RUN) -m tools.audit --online $(or $(ONLINE),if-reachable)

sbom: $(INSTALLED) ## What the image is made of, as CycloneDX, the same bytes for the same lock: dist/sbom.cdx.json
	@$(RUN) -m tools.audit --sbom dist/sbom.cdx.json

chart: $(INSTALLED) ## Make chart/templates from manifests/
	@$(RUN) -m tools.chart

docs: $(INSTALLED) ## Write what is generated: docs/settings.md, docs/agent-settings.md, docs/metrics.md, scheduler-config/
	@$(RUN) -m extender settings > docs/settings.md
	@$(RUN) -m monitor_agent settings > docs/agent-settings.md
	@$(RUN) -m tests.metrics_page > docs/metrics.md
	@$(RUN) -m tools.scheduler_files

lock: $(INSTALLED) ## Resolve the newest versions and write the hashed requirements files
	@$(UV) lock -q --upgrade
	@$(UV) export -q --no-header --no-annotate --no-emit-project --no-dev > requirements.lock
	@$(UV) export -q --no-header --no-annotate --no-emit-project --all-extras > requirements-dev.lock

release: $(INSTALLED) ## What a release must pass beside e2e-all: known vulnerabilities, all random examples, 1,000,000 requests, availability, every figure (75 minutes)
	@$(MAKE) audit ONLINE=required
	@$(MAKE) examples
	@$(MAKE) fuzz
	@$(MAKE) availability
	@$(MAKE) bench
	@$(MAKE) bench-rewards
	@$(MAKE) bench-agent

hooks: $(INSTALLED) ## Run `make lint types arrows` before each commit
	@$(BIN)/prek install

clean: ## Remove what was installed and built here
	rm -rf .venv .tools dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -f extender/wire/*.so

.PHONY: help install run try test examples lint types arrows check cluster-binaries older-binaries node-binaries e2e e2e-all image cluster cluster-down deploy undeploy status bench bench-short bench-gate bench-rewards availability bench-agent demo-rewards fuzz audit sbom chart docs lock release hooks clean
