# Everything one types to run, test and check plscp. Needs Python 3.11+ and make; fetches the rest, no root.
# ARGS is handed on: make demo ARGS=--no-kafka, make test ARGS="-k relay"
# make test draws the same values each time; make explore draws new ones.

PYTEST := .venv/bin/python -m pytest -p tests.strict
JOBS ?= 2
KILLS ?= 1000
MINUTES ?= 5
EXAMPLES ?= 500
SEED ?= random
ASSOCIATIONS ?= 100000
PYTHONS ?= 3.12 3.13 3.14

.PHONY: help
help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*##  */\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "make %-8s %s\n", $$1, $$2 }'

.PHONY: demo
demo: .venv/stamp-run  ## a cath-lab case from four devices through a real server into a real Kafka
	@.venv/bin/plscp demo $(ARGS)

.PHONY: test
test: .venv/stamp-dev  ## every test that needs no root: fetches and starts a real Kafka
	@$(PYTEST) -n $(JOBS) --dist loadgroup --ignore=tests/peers --ignore=tests/cluster $(ARGS)

.PHONY: explore
explore: .venv/stamp-dev  ## every property with new values, EXAMPLES=500 each, again and again for MINUTES=5; finds land in build/explore
	@PLSCP_TEST_SEED=$(SEED) .venv/bin/python -m tests.explore --minutes $(MINUTES) --examples $(EXAMPLES) --jobs $(JOBS) $(ARGS)

.PHONY: peers
peers: .venv/stamp-dev  ## tests against other people's programs, with 300 MB from npm and Maven Central; as root on Debian it installs DCMTK and a JDK
	@.ci/peers
	@$(PYTEST) tests/peers $(ARGS)

.PHONY: cluster
cluster: .venv/stamp-dev  ## the image and the chart on a real Kubernetes, killed, drained and upgraded under load: as root on Debian, 10 minutes the first time
	@$(PYTEST) -s tests/cluster $(ARGS)

.PHONY: check
check: .venv/stamp-dev  ## lint, format, types, walls between the rooms, generated files, the published contract, the site
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy plscp tests $(wildcard benchmarks)
	.venv/bin/lint-imports
	@.venv/bin/python .ci/structure
	@.ci/generated
	.venv/bin/plscp schema check
	@$(MAKE) --no-print-directory site

.PHONY: site
site: .venv/stamp-dev  ## docs/ as a site in build/site; fails where a link or an anchor leads nowhere
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict

.PHONY: generate
generate: .venv/stamp-dev  ## write the generated files anew
	@.ci/generated --write

.PHONY: bench
bench: .venv/stamp-dev  ## side by side with a stock pynetdicom SCP, and where the time goes: ten minutes, ARGS=--quick for two
	@.venv/bin/python -m benchmarks $(ARGS)

.PHONY: attacks
attacks: .venv/stamp-dev  ## what an honest association notices of each attack on the server, as a table
	@.venv/bin/python -m tests.system.attacks $(ARGS)

.PHONY: crowd
crowd: .venv/stamp-dev  ## sixteen honest associations while 10,000 hostile connections of every kind come and go
	@.venv/bin/python -m tests.system.attacks.crowd $(ARGS)

.PHONY: drain
drain: .venv/stamp-dev  ## how long a server takes from SIGTERM to its end with 1,000 associations open, and what devices see
	@.venv/bin/python -m tests.system.draining $(ARGS)

.PHONY: fuzz
fuzz: .venv/stamp-dev  ## what a peer may send, mutated from kept requests, for MINUTES=5; bytes that do harm land in build/fuzz
	@.venv/bin/python -m tests.fuzz --minutes $(MINUTES) $(ARGS)

.PHONY: soak
soak: .venv/stamp-dev  ## ASSOCIATIONS=100000 opened and closed: no memory, descriptor, thread or label more
	@PLSCP_TEST_ASSOCIATIONS=$(ASSOCIATIONS) $(PYTEST) -s tests/system/test_soak.py $(ARGS)

.PHONY: torture
torture: .venv/stamp-dev  ## server, relay and broker killed under load, KILLS=1000 times: nothing acknowledged is lost
	@PLSCP_TEST_KILLS=$(KILLS) PLSCP_TEST_SEED=$(SEED) $(PYTEST) -s tests/system/test_kill.py $(ARGS)

.PHONY: dist
dist: .venv/stamp-dev  ## wheel and sdist into dist/, the same bytes from the same commit
	@.venv/bin/python .ci/dist dist

.PHONY: audit
audit: .venv/stamp-dev  ## known vulnerabilities of what the lock files pin: needs a package index that tells them
	@.venv/bin/pip-audit --strict --progress-spinner off --disable-pip --require-hashes -r requirements.lock -r requirements-dev.lock

.PHONY: sbom
sbom: .venv/stamp-dev  ## what a server consists of, as CycloneDX, into build/sbom.cdx.json
	@mkdir -p build
	@.venv/bin/python -W ignore -m cyclonedx_py requirements --pyproject pyproject.toml --output-reproducible --output-file build/sbom.cdx.json requirements.lock
	@echo build/sbom.cdx.json

.PHONY: pythons
pythons: .venv/stamp-dev  ## the fast tests on each of PYTHONS="3.12 3.13 3.14" that this machine has
	@.ci/pythons $(PYTHONS)

.PHONY: lock
lock: .venv/stamp-run  ## bring the lock files up to date with pyproject.toml: UPGRADE=1 for newer versions
	@.ci/lock

.PHONY: venv
venv: .venv/stamp-dev  ## the environment alone

.PHONY: clean
clean:  ## remove the environment and what tools leave behind; fetched components stay in the cache
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/stamp-run: requirements.lock pyproject.toml .ci/environment
	@.ci/environment requirements.lock

.venv/stamp-dev: requirements-dev.lock pyproject.toml .ci/environment
	@.ci/environment requirements-dev.lock
