# Set-up is done by the scripts in deploy/setup; each costs next to nothing when its part is done.

PYTHON := $(or $(PYTHON),$(shell command -v python3 2>/dev/null))
export PYTHON
export PATH := $(CURDIR)/.tools/bin:$(CURDIR)/.venv/bin:$(PATH)
# Packages and programs are built side by side.
MAKEFLAGS += -j2 --no-print-directory
# What Python compiles is kept, whatever this machine says: else each process that starts compiles for over a second.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s%s\n", $$1, $$2 }' Makefile

.PHONY: up
up: setup ## set up what is missing and run a node in the foreground
	@exec .venv/bin/dpm up

.PHONY: test
test: setup ipfs synapse prometheus index-servers clients docker registries crane apt cargo ## set up what is missing and run all tests, real parts and containers included
	@$(MAKE) check
	@$(MAKE) test-real
	@$(MAKE) test-containers

# Files marked long begin first. What failed beside others is run once more, alone; the first output
# still shows it, because a test that needs a second try is one to mend. Six at a time, as they wait a lot. The
# containers come after them: an engine of a test's own, without a bridge, takes that of all others away.
.PHONY: test-real
test-real: setup
	pytest -m real -n 6 --dist loadfile --no-loadscope-reorder --durations 25 || \
	pytest -m real --last-failed --last-failed-no-failures none

.PHONY: check
check: packages ## format, lint, types, import rules and unit tests
	ruff format --check
	ruff check
	mypy $(SOURCES)
	mypy $(HYPHENATED)
	lint-imports --no-logo
	pytest -m "not real and not containers" -n 2

# A folder with a hyphen cannot be part of a module's name: mypy sees the tests in these apart from the rest.
HYPHENATED = $(sort $(dir $(wildcard libs/*-*/tests/*.py services/*-*/tests/*.py)))
SOURCES = libs services $(wildcard tests examples) --exclude '^(libs|services)/[^/]*-[^/]*/tests/'

.PHONY: format
format: packages ## format the code and mend what the linter can
	ruff format
	ruff check --fix

.PHONY: setup
setup: packages nats-server ## install what a node needs, and run nothing

.PHONY: lock
lock: venv ## bring the locks up to the pyproject files and to deploy/tools/go.mod
	deploy/setup/lock.sh

.PHONY: upgrade
upgrade: venv ## lock anew, each package at its newest version
	deploy/setup/lock.sh --upgrade

.PHONY: bench
bench: setup ## print and judge the times that are promised; FRESH=1 adds a fresh clone (minutes)
	@python bench/startup.py $(if $(FRESH),--fresh)
	@python bench/stalled.py
	@python bench/telemetry.py
	@$(MAKE) bench-speed
	@$(MAKE) bench-images
	@$(MAKE) bench-debs
	@$(MAKE) bench-peers

.PHONY: bench-speed
bench-speed: setup index-servers rivals ## speed beside nginx, proxpi and devpi, judged: ROUNDS=5 PARTS="cold installs memory warm processor"
	@python bench/speed --rounds $(or $(ROUNDS),5) $(PARTS)

.PHONY: bench-images
bench-images: setup registries ## images beside docker-registry as a cache, judged: ROUNDS=5
	@python bench/images.py --rounds $(or $(ROUNDS),5)

.PHONY: bench-debs
bench-debs: setup apt ## Debian packages beside apt-cacher-ng and beside the reading of a large index, judged, as root: ROUNDS=5
	@python bench/debs.py --rounds $(or $(ROUNDS),5)
	@python bench/reading.py --rounds $(or $(ROUNDS),5)

.PHONY: bench-peers
bench-peers: setup ipfs synapse rivals ## files from a peer beside plain HTTP and Kubo's own cat, judged, as root: ROUNDS=3
	@python bench/peers.py --rounds $(or $(ROUNDS),3)

.PHONY: chaos
chaos: setup ## kill, pause and restart services of a node under load: ROUNDS=200 SEED=1 FROM=1 (half an hour)
	@python soak/chaos.py --rounds $(or $(ROUNDS),200) --seed $(or $(SEED),1) --from $(or $(FROM),1)

.PHONY: soak
soak: setup ## large numbers, judged: LARGE_MB=100 LAYER_MB=3000 HISTORIES=2000 ARTIFACTS=100000 CLIENTS=10000 INPUTS=100000 BREAKS_MB=200 (alone here)
	LARGE_MB=$(or $(LARGE_MB),100) pytest tests/test_single_flight.py -k hundred
	INSTALL=jupyterlab pytest tests/test_install.py
	@python soak/histories.py --examples $(or $(HISTORIES),2000)
	@python soak/size.py --artifacts $(or $(ARTIFACTS),100000)
	@$(MAKE) registries
	@python soak/images.py --layer-mb $(or $(LAYER_MB),3000)
	@$(MAKE) apt
	@python soak/apt.py --publications $(or $(PUBLICATIONS),50)
	@python soak/clients.py --clients $(or $(CLIENTS),10000) --inputs $(or $(INPUTS),100000)
	@$(MAKE) ipfs synapse clients
	@python soak/peers.py --large-mb $(or $(BREAKS_MB),200)

.PHONY: images
images: setup ipfs docker ## build the images of all services, and print the megabytes and seconds of each
	@deploy/setup/docker.sh deploy/setup/images.sh

.PHONY: test-containers
test-containers: setup ipfs docker apt ## the tests of the containers, on a Docker engine that is started if none runs
	@deploy/setup/docker.sh sh -ec 'deploy/setup/images.sh; pytest -m containers tests/containers'

.PHONY: clean
clean: ## remove all that set-up installed here
	rm -rf .venv .tools

.PHONY: system venv packages nats-server ipfs crane synapse prometheus index-servers clients rivals docker registries apt cargo
system:
	@deploy/setup/system.sh
venv: system
	@deploy/setup/venv.sh
packages: venv
	@deploy/setup/packages.sh
nats-server: venv
	@deploy/setup/tools.sh nats-server
docker: system
	@deploy/setup/docker.sh
# After nats-server, because both may have to install Go.
ipfs: nats-server
	@deploy/setup/tools.sh ipfs
crane: ipfs
	@deploy/setup/tools.sh crane referrers-registry
# After the system's packages: two apt-get at once would wait for one another.
prometheus: venv
	@deploy/setup/prometheus.sh
index-servers: venv
	@deploy/setup/programs.sh index-servers
synapse: venv
	@deploy/setup/programs.sh synapse
clients: venv
	@deploy/setup/programs.sh clients oldest-pip
registries: docker
	@deploy/setup/registries.sh
apt: venv
	@deploy/setup/apt.sh
cargo: system
	@deploy/setup/cargo.sh
rivals: venv
	@deploy/setup/rivals.sh
