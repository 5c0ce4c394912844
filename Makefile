# The commands of the project. `make demo` and `make test` need Python 3.11+ and make, nothing else.
PYTHON ?= python3
BIN := .venv/bin
DEMO ?= build/demo
# Where tools/install puts the outside tools.
TOOLS := $(or $(GEN_TOOLS),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/gen-tools)

.PHONY: help demo test watch lint types fast live live-images live-servers live-fleet live-stacks live-machines live-rest golden lock bench facts clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' $(MAKEFILE_LIST)

demo: .venv/run  ## make a sample project, show its tree and what the checks say
	@rm -rf $(DEMO) && mkdir -p $(DEMO)
	$(BIN)/gen new sample-app --targets all --dir $(DEMO)/sample-app
	@echo && cd $(DEMO)/sample-app && find . -type f | sort | sed 's/^\.\//  /'
	@echo && export PATH="$(CURDIR)/$(BIN):$(TOOLS)/bin:$$PATH" && \
	  if test -d $(TOOLS)/schemas; then export GEN_KUBERNETES_SCHEMAS=$(TOOLS)/schemas; fi && \
	  cd $(DEMO)/sample-app && gen check

watch: .venv/dev  ## watch a rollout, a failed one and a rollback: TARGET=server, or STRATEGY=canary in containers
	$(BIN)/python -m $(if $(filter server,$(TARGET)),tests.live.watch_servers,tests.live.watch $(STRATEGY))

test: lint types fast live  ## everything; a missing outside tool skips its tests and says so

lint: .venv/dev  ## style and the direction of imports
	$(BIN)/ruff format --check generator tests bench tools
	$(BIN)/ruff check generator tests bench tools
	$(BIN)/lint-imports --no-cache | tail -n 4

types: .venv/dev  ## mypy, strict
	$(BIN)/mypy

fast: .venv/dev  ## tests without a Docker engine
	$(BIN)/pytest -q --numprocesses auto tests --ignore tests/live

# What stops and replaces under load has the machine for itself. Then the others, three beside each other: much of the
# time of each is waiting.
IMAGES := $(addprefix tests/live/test_,image.py image_command.py load.py)
SERVERS := $(addprefix tests/live/test_,ec2.py nginx_role.py servers.py)
FLEET := tests/live/test_fleet.py
STACKS := $(addprefix tests/live/test_,eks.py tofu.py)
MACHINES := $(addprefix tests/live/test_,vm.py vm_colors.py)

# With QUICK=1 without those that are marked as long.
LIVE := $(BIN)/pytest -q $(if $(QUICK),-m 'not long')

live: live-images  ## tests against a Docker engine, a control plane, servers and a load; QUICK=1: the quick ones
	@$(MAKE) --jobs 3 --output-sync=target --no-print-directory \
	  live-machines live-servers live-fleet live-rest live-stacks

live-images: .venv/dev  ## of these images: built, pushed, stopped and replaced under load
	$(LIVE) $(IMAGES)

live-servers: .venv/dev  ## of these the servers that are made, and nginx on servers
	$(LIVE) $(SERVERS)

live-fleet: .venv/dev  ## of these a fleet of servers that is deployed to
	$(LIVE) $(FLEET)

live-stacks: .venv/dev  ## of these modules and stacks of OpenTofu, and clusters
	$(LIVE) $(STACKS)

live-machines: .venv/dev  ## of these releases of virtual machines
	$(LIVE) $(MACHINES)

live-rest: .venv/dev  ## of these the rest: the control plane, images of machines
	$(LIVE) tests/live $(patsubst %,--ignore %,$(IMAGES) $(SERVERS) $(FLEET) $(STACKS) $(MACHINES))

golden: .venv/dev  ## write the expected outputs anew; read the diff before you commit it
	$(BIN)/python -m tests.golden

bench: .venv/dev  ## speed and memory beside copier and cookiecutter, into bench/RESULTS.md
	$(BIN)/python -m bench.run

facts: .venv/dev  ## fails when a default has reached the end of its support
	$(BIN)/python -m tools.facts

lock: .venv/dev  ## resolve the dependencies anew
	$(BIN)/pip install -q uv
	$(BIN)/uv pip compile pyproject.toml --group setup --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate --upgrade -q -o requirements/run.txt
	$(BIN)/uv pip compile pyproject.toml --group setup --group dev --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate --upgrade -q -c requirements/run.txt -o requirements/dev.txt

clean:  ## remove what was made here
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The environment, in two steps: what gen needs, and what its tests need. A changed lock renews it.
.venv/run: requirements/run.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("gen needs Python 3.11 or newer; set PYTHON=...") if sys.version_info < (3, 11) else 0'
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/dev: .venv/run requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@
