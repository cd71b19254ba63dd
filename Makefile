SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help setup run telecom watch test rust-test python-test tested-servers more-servers servers test-servers property sim mutants sim-topologies fuzz feed-kill kill chaos chaos-long soak lint bench bench-io docs wheel lock clean

PYTHON ?= python3
FOR ?= 20s
MACHINES ?= 2000
SEEDS ?= 20000
LINES ?= 1000000
BIN := .venv/bin
UV := VIRTUAL_ENV=.venv UV_PYTHON_DOWNLOADS=never $(BIN)/uv
S := .build
STEP := scripts/step
SAY = printf '[%s] %s\n'
RUST := Cargo.toml Cargo.lock $(shell find crates -name '*.rs' -o -name Cargo.toml)

# A stamp in .build says that a step is done. It is void when what it made is gone.
ifeq ($(wildcard $(BIN)/python),)
  $(shell rm -f $(S)/python)
endif
ifeq ($(wildcard python/squall/_core*.so),)
  $(shell rm -f $(S)/core)
endif
ifeq ($(wildcard $(S)/docs-venv/bin/mkdocs),)
  $(shell rm -f $(S)/docs)
endif
ifeq ($(wildcard $(S)/peers-venv/bin/python),)
  $(shell rm -f $(S)/peers)
endif

help:            ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 16

$(S):
	@mkdir -p $@

# System packages: only what is missing, and only then is root asked for.
$(S)/system: | $(S)
	@missing=(); command -v cc >/dev/null || missing+=(build-essential); \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3 python3-venv); \
	if (($${#missing[@]})); then \
	  command -v apt-get >/dev/null || { echo "Missing: $${missing[*]}. Install them, then run make again." >&2; exit 2; }; \
	  root=(); ((EUID == 0)) || root=(sudo); export DEBIAN_FRONTEND=noninteractive; \
	  $(STEP) 1/3 "installing $${missing[*]}" bash -c '"$$@" apt-get update -qq && "$$@" apt-get install -y -qq '"$${missing[*]}" - "$${root[@]}"; fi
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'Python 3.11 or newer is needed. Name it: make PYTHON=python3.11 …' >&2; exit 2; }
	@command -v cargo >/dev/null || { echo 'Rust 1.90 or newer is needed and cargo was not found. Install it from your system or with rustup, then run make again.' >&2; exit 2; }
	@touch $@

# Syncing takes away what the lock does not name, squall itself too: the core is installed anew.
$(S)/python: requirements.lock bootstrap.lock | $(S)/system
	@test -x $(BIN)/python || $(STEP) 1/3 "making .venv" $(PYTHON) -m venv .venv
	@test -x $(BIN)/uv || $(STEP) 1/3 "installing uv" $(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r bootstrap.lock
	@$(STEP) 2/3 "installing Python packages (about 20 s the first time)" env $(UV) pip sync -q --require-hashes requirements.lock
	@rm -f $(S)/core
	@touch $@

$(S)/core: $(S)/python $(RUST) pyproject.toml
	@$(STEP) 3/3 "building the Rust core (about 2 minutes the first time)" env PATH="$$PWD/$(BIN):$$PATH" \
	  VIRTUAL_ENV="$$PWD/.venv" SQUALL_PROFILE=dist $(BIN)/maturin develop --profile dist --uv
	@touch $@

setup: $(S)/core ## the environment and the core, nothing else

run: $(S)/core  ## set up everything and count words on a live TCP connection (FOR=20s)
	@$(BIN)/python examples/run_word_count.py --for $(FOR)

telecom: tested-servers $(S)/core ## handover alarms: TCP, a sliding count, Kafka and PostgreSQL, checked (ARGS='--records 60000')
	@$(BIN)/python examples/scenarios/run_telecom.py $(ARGS)

watch: tested-servers $(S)/core ## a watch over logs: Kafka, rules, a ranking, PostgreSQL; debugged while it runs, checked (ARGS='--lines 60000')
	@$(BIN)/python examples/scenarios/run_watch.py $(ARGS)

test: $(S)/core ## set up everything and pass every test
	@$(SAY) test 'formats, lints, types, layers'
	@$(MAKE) --no-print-directory lint
	@$(SAY) test 'Rust: core, net, simulation'
	@$(MAKE) --no-print-directory rust-test
	@$(SAY) test 'Python'
	@$(MAKE) --no-print-directory python-test

rust-test: $(S)/system ## the tests of the Rust crates
	cargo test --release -q --workspace --exclude squall-py
	cargo test --release -q -p squall-sim --features mutants --test mutants

python-test: $(S)/core tested-servers ## the tests of the Python side, on the built core and real servers
	$(BIN)/python -m pytest -n 2 --dist worksteal

# Real servers, for tests, benchmarks and examples: packages of the system, and archives of known checksums. What is there
# is not fetched again.
SERVERS := cd tests && ../$(BIN)/python -m servers
tested-servers: $(S)/python
	@$(SERVERS) install kafka registry postgresql redis

more-servers: tested-servers
	@$(SERVERS) install mariadb hdfs

servers: more-servers $(S)/peers ## install all servers that tests and benchmarks use, and say how to start one by hand
	@$(SERVERS) list
	@$(SAY) servers 'by hand: $(SERVERS) start kafka'

test-servers: $(S)/core more-servers ## the tests that take long, or more servers than `make test` has
	$(BIN)/python -m pytest -n 2 --dist worksteal -m servers

property: $(S)/core ## drive random topologies against a model for long (MACHINES=2000; SEED=… repeats)
	SQUALL_MODEL_MACHINES=$(MACHINES) $(BIN)/python -m pytest tests/property/test_model.py::TestModel \
	  -p no:logging --show-capture=no $(if $(SEED),--hypothesis-seed=$(SEED))

sim: $(S)/system ## live through simulated histories on all processors (SEEDS=20000; FROM=… the first; SEED=n tells one)
	@cargo build --release -q -p squall-sim
	@target/release/squall-sim $(if $(SEED),seed=$(SEED),seeds=$(SEEDS) $(if $(FROM),from=$(FROM)))

mutants: $(S)/system ## put every defect into the simulation, and write what catches it to docs/reference/mutants.md
	SQUALL_WRITE_MUTANTS=1 cargo test --release -q -p squall-sim --features mutants --test mutants -- --nocapture

sim-topologies: $(S)/core ## random topologies over simulated workers under faults (SEEDS=20000; FROM=… the first; SEED=n is one)
	SQUALL_SIM_SEEDS=$(if $(SEED),1,$(SEEDS)) SQUALL_SIM_SEED=$(or $(SEED),$(FROM),0) $(BIN)/python -m pytest -n 2 \
	  --dist worksteal -p no:logging tests/property/test_simulated_graphs.py -k laws_hold

fuzz: FOR = 60s
fuzz: $(S)/core  ## break laws with random bytes, each target for a while (FOR=60s; TARGETS='frames letters'; KEEP=1 renews the corpus)
	@$(BIN)/python -c 'import atheris' 2>/dev/null || env $(UV) pip install -q --require-hashes -r fuzz.lock
	@$(BIN)/python fuzz/campaign.py --for $(FOR) $(if $(KEEP),--keep) $(TARGETS)

feed-kill: $(S)/core ## feed a million lines while both sides are killed (LINES=1000000)
	SQUALL_FEED_KILL_LINES=$(LINES) $(BIN)/python -m pytest -s --timeout 900 tests/component/test_feed_kill.py tests/component/test_tcp_journal.py

kill: FOR = 5m
kill: $(S)/core  ## kill every process of a run under load, again and again, and stop each for up to a minute (FOR=5m; SEED=… chooses the order)
	SQUALL_KILL_FOR=$(FOR) $(if $(SEED),SQUALL_KILL_SEED=$(SEED)) $(BIN)/python -m pytest -s --timeout 3600 tests/component/test_worker_kills.py
	SQUALL_KILL_FOR=$(FOR) $(BIN)/python -m pytest --timeout 300 tests/component/test_worker_deaths.py -k stands_still

chaos: FOR = 15m
chaos: $(S)/core  ## faults strike two topologies by chance, an independent count judges (FOR=15m; SEED=… repeats; KINDS=kill,disk,…)
	cd tests && ../$(BIN)/python -m chaos --for $(FOR) $(if $(SEED),--seed $(SEED)) $(if $(KINDS),--kinds $(KINDS))

chaos-long: FOR = 8h
chaos-long: $(S)/core  ## the same for hours; what it found is added up in tests/chaos/sum.json (FOR=8h)
	cd tests && ../$(BIN)/python -m chaos --for $(FOR) --sum chaos/sum.json

soak: FOR = 30m
soak: $(S)/core  ## one run under mixed load and faults: no memory, file, thread or socket may grow (FOR=30m; SEED=…)
	cd tests && ../$(BIN)/python -m chaos.soak --for $(FOR) $(if $(SEED),--seed $(SEED)) --plot ../$(S)/soak.svg

lint: $(S)/core  ## formats, lints, types, layers
	cargo fmt --check
	cargo clippy -q --release --workspace --exclude squall-py --all-targets -- -D warnings
	cargo clippy -q --release -p squall-sim -p squall-core --features mutants --all-targets -- -D warnings
	PYO3_PYTHON=$$PWD/$(BIN)/python cargo clippy -q --release -p squall-py -- -D warnings
	$(BIN)/ruff format --check -q .
	$(BIN)/ruff check -q .
	$(BIN)/basedpyright
	$(BIN)/lint-imports --no-cache

# The site's tools have an environment of their own: what builds pages should not decide the versions of what runs.
$(S)/docs: docs.lock bootstrap.lock | $(S)/system
	@test -x $(BIN)/python || $(STEP) 1/2 "making .venv" $(PYTHON) -m venv .venv
	@test -x $(BIN)/uv || $(STEP) 1/2 "installing uv" $(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r bootstrap.lock
	@test -x $(S)/docs-venv/bin/python || $(BIN)/uv venv -q --python $(BIN)/python $(S)/docs-venv
	@$(STEP) 2/2 "installing the site's tools" env VIRTUAL_ENV=$(S)/docs-venv UV_PYTHON_DOWNLOADS=never $(BIN)/uv pip sync -q --require-hashes docs.lock
	@touch $@

docs: $(S)/docs  ## build the documents into site/
	@$(BIN)/python scripts/site/pages.py gather $(S)/pages
	@$(STEP) docs 'building site/' env NO_MKDOCS_2_WARNING=1 PATH="$$PWD/$(S)/docs-venv/bin:$$PATH" mkdocs build --strict --clean
	@$(BIN)/python scripts/site/pages.py check site
	@$(SAY) docs 'open site/index.html; with search: python3 -m http.server -d site'

bench: $(S)/core ## measure against bare Python loops and write docs/benchmarks.md
	$(BIN)/python -m benchmarks

# Other frameworks have an environment of their own: they want other versions of the same clients.
$(S)/peers: peers.lock | $(S)/python
	@test -x $(S)/peers-venv/bin/python || $(BIN)/uv venv -q --python $(BIN)/python $(S)/peers-venv
	@$(STEP) peers "installing Bytewax, Quix Streams and faust-streaming" env VIRTUAL_ENV=$(S)/peers-venv \
	  UV_PYTHON_DOWNLOADS=never $(BIN)/uv pip sync -q --require-hashes peers.lock
	@touch $@

bench-io: $(S)/core tested-servers $(S)/peers ## measure connectors against bare clients and other frameworks, into docs/benchmarks.md
	$(BIN)/python -m benchmarks.io

wheel: $(S)/python ## the wheel
	PATH="$$PWD/$(BIN):$$PATH" SQUALL_PROFILE=dist $(BIN)/maturin build --profile dist -o dist

lock:            ## write the lock files anew
	@test -x $(BIN)/uv || { $(PYTHON) -m venv .venv; $(BIN)/python -m pip install -q uv; }
	$(UV) pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 --upgrade \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header -q -o requirements.lock
	$(UV) pip compile --group pyproject.toml:docs --universal --python-version 3.11 --upgrade \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header -q -o docs.lock
	$(UV) pip compile --group pyproject.toml:fuzz --universal --python-version 3.11 --upgrade \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header -q -o fuzz.lock
	$(UV) pip compile --group pyproject.toml:peers --universal --python-version 3.11 --upgrade \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header -q -o peers.lock
	grep -A999 '^uv==' requirements.lock | awk 'NR>1 && /^[a-z]/ {exit} {print}' > bootstrap.lock
	! grep -nE 'https?://' requirements.lock bootstrap.lock docs.lock fuzz.lock peers.lock

clean:           ## remove what was built
	rm -rf .venv .build target dist site python/squall/_core*.so
