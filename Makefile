# Two commands do all the set-up: make demo, make test. Plain python3 is enough; uv is used where it is installed.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DEMO   ?= demo-lab
JOBS   ?= 2
N      ?= 10000
SEED   ?= 1

# make bench-optimizer: where the peers are installed, and what is measured (SEEDS, PEERS, ONLY, OUT, BENCH_JOBS)
BENCH_VENV ?= ../labctl-peers
BENCH_JOBS ?= 1
SEEDS      ?= 30
PEERS      ?= all
ONLY       ?= all
OUT        ?= benchmarks/out/optimizer.jsonl

.PHONY: demo test crash-test crash-sweep ctrl-c-test proxy-test check format lint types imports bench bench-loop bench-optimizer-time bench-start bench-memory bench-stop bench-scale bench-floor bench-best bench-optimizer bench-peers bench-outlook soak-optimizer clean
.DEFAULT_GOAL := check

$(VENV)/.run: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else "labctl needs Python 3.11, 3.12 or 3.13; this is %d.%d. Try: make PYTHON=python3.12 $(MAKECMDGOALS)" % v)'
	@if command -v uv >/dev/null; then uv venv -q --allow-existing --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" $(VENV) && uv pip install -q --python $(BIN)/python -c constraints.txt -e .; \
	else $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e .; fi
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	@if command -v uv >/dev/null; then uv pip install -q --python $(BIN)/python -c constraints.txt -e '.[dev,postgres]'; \
	else $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev,postgres]'; fi
	@touch $@

demo: $(VENV)/.run  ## a self-driving lab finds a battery electrolyte, in accelerated lab time
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh benchmarks/demo.sh "$(DEMO)"

# One thread each: two workers share two cores. Exported, not written before the command, so that no shell stands between.
test: export OMP_NUM_THREADS = 1
test: export OPENBLAS_NUM_THREADS = 1
# Hundreds of tests start labctl: its modules are compiled once, whatever the shell says.
test: export PYTHONDONTWRITEBYTECODE =
test: $(VENV)/.dev  ## all tests
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist loadgroup

check: format lint types imports test  ## what must hold before anything lands

crash-test: export OMP_NUM_THREADS = 1
crash-test: export OPENBLAS_NUM_THREADS = 1
crash-test: N = 1000
crash-test: DATABASE ?= sqlite
crash-test: $(VENV)/.dev  ## random crashes of worker, machines and disk: make crash-test N=1000 SEED=1 JOBS=2 DATABASE=postgresql LAB=alloy
	@nice $(BIN)/python -m tests.crash $(N) $(SEED) --jobs $(JOBS) --database $(DATABASE) $(LAB:%=--lab=%)

crash-sweep: STEP ?= 10
crash-sweep: DATABASE ?= sqlite
crash-sweep: $(VENV)/.dev  ## a crash at every point and at every STEPth write and flush of a small campaign: make crash-sweep STEP=10
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 nice $(BIN)/python -m tests.crash --every $(STEP) --jobs $(JOBS) --database $(DATABASE)

ctrl-c-test: N = 100
ctrl-c-test: $(VENV)/.dev  ## Ctrl-C at random moments: make ctrl-c-test N=100 SEED=1
	@nice $(BIN)/python -m tests.ctrl_c $(N) $(SEED)

proxy-test: $(VENV)/.dev  ## faults on the wire, of every protocol: make proxy-test N=10000 SEED=1
	@nice $(BIN)/python -W error -m tests.proxy $(N) $(SEED)

format: $(VENV)/.dev
	@$(BIN)/ruff format --check .

lint: $(VENV)/.dev
	@$(BIN)/ruff check .

types: $(VENV)/.dev
	@$(BIN)/mypy

imports: $(VENV)/.dev
	@$(BIN)/lint-imports

bench: bench-start bench-optimizer-time bench-loop bench-memory bench-best  ## the quick figures; the long ones have targets of their own below

bench-start: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.bench_start

bench-loop: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.bench_loop

bench-optimizer-time: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.bench_optimizer_time

bench-floor: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.bench_floor

bench-stop: $(VENV)/.dev  ## how long `labctl stop --all` takes, with the database well, locked, silent and dead
	@$(BIN)/python -m benchmarks.bench_stop

bench-memory: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.bench_memory

# A quarter of an hour for all; one part: make bench-scale PART=flat
bench-scale: $(VENV)/.dev  ## full databases, a thousand waiting jobs, fleets, the cost of the ten-thousandth experiment
	@$(BIN)/python -m benchmarks.bench_scale $(PART)

bench-best: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.bench_best

# Measures what is missing in OUT, then prints every table; a peer that is not installed is left out.
bench-optimizer: $(VENV)/.dev
	@python=$(BIN)/python; if [ -x $(BENCH_VENV)/bin/python ]; then python=$(BENCH_VENV)/bin/python; fi; \
	nice "$$python" -W ignore -m benchmarks.optimizer --out $(OUT) --seeds $(SEEDS) --peers $(PEERS) --only $(ONLY) --jobs $(BENCH_JOBS)

bench-outlook: $(VENV)/.dev  ## 200 simulated campaigns: does the stated probability hold?
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.bench_outlook

bench-peers:  ## the environment of the peers; torch first and exactly so, before anything else asks for another
	@$(PYTHON) -m venv $(BENCH_VENV)
	@$(BENCH_VENV)/bin/pip install -q torch==2.13.0
	@$(BENCH_VENV)/bin/pip install -q botorch==0.18.1 baybe==0.15.0 ax-platform==1.3.1 optuna==5.0.0
	@$(BENCH_VENV)/bin/pip install -q -c constraints.txt -e .

soak-optimizer: $(VENV)/.dev  ## random campaigns, many: make soak-optimizer N=10000 JOBS=2
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 JOBS=$(JOBS) $(BIN)/python -m benchmarks.soak_optimizer $(N)

clean:
	@rm -rf $(VENV) $(DEMO) .mypy_cache .ruff_cache .pytest_cache .hypothesis
