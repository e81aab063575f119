# One door for everything: `make` lists the targets. The environment is .venv, made on first use.

EXTRAS := train,serve,report,parquet,dev
BIN    := .venv/bin
STAMP  := .venv/.setup-done
PEERS  := .venv-peers/.setup-done

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench peers clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: $(STAMP) ## make .venv and install striate into it (again only when its requirements change)
	@:

$(STAMP): pyproject.toml constraints.txt dev/setup
	@dev/setup "$(EXTRAS)"
	@touch $@

demo: setup ## the whole job on the built-in sample: inspect, train, ship, verify, predict
	@$(BIN)/striate demo

# One compute thread a worker: two workers with two threads each would fight over two cores.
test: setup ## all tests
	@OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -q

check: setup ## lint, format, types, import order
	@dev/check

bench: setup ## every benchmark in turn
	@set -e; for script in bench/[!_]*.py; do \
		[ -e "$$script" ] || { echo "bench/ holds no benchmark yet"; break; }; \
		echo "== $$script"; $(BIN)/python "$$script"; \
	done

peers: $(PEERS) ## make .venv-peers, with what striate is compared with in dev/ (several GB; CI does not)
	@:

$(PEERS): pyproject.toml dev/peers.txt | setup
	@[ -x .venv-peers/bin/python ] || $(BIN)/python -m venv .venv-peers
	@.venv-peers/bin/python -m pip install -qq --disable-pip-version-check --no-input -r dev/peers.txt -e .
	@touch $@

clean: ## remove caches and build products (.venv, runs and results stay)
	@rm -rf build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name '.venv*' -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
