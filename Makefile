# The commands of everyday work. CMake and Ninja do the building; this file only names what to ask them for.
#
#   make               build everything into build/ (release with debug information)
#   make check-quick   build, then the unit tests but for the few that are long: under 30 s
#   make test          everything that CI runs (./test sets the machine up first)
#   make fmt | lint | lint-all
#   make fuzz T=wire [TIME=60]
#   make bench         measured figures, RATIO lines at the end
#   make connections   10,000 idle connections beside 100 busy ones; what an idle one costs, plain and with TLS
#   make crash [N=500] kill -9 under load, over and over
#   make faults        fail each fallible call of a store's life, one after the other
#   make rewrites [ROTATIONS=1000] re-encryption killed and failed at every step; so many in a row
#   make rotations     a thousand rotations of a node's SMK under load, a hundred kills
#   make drill [ROUNDS=50] take a key away and give it back at the default settings; medians and 99th percentiles
#   make rounds [ROUNDS=100] the same in milliseconds, and whether memory or descriptors stay behind
#   make custody       re-wraps after new versions of a key; the rate of a re-encryption, and what it costs reads
#   make stop          end what ./run started
#   make clean

JOBS ?= $(shell nproc)
BUILD ?= build
TIME ?= 60

.PHONY: all configure check-quick test fmt lint lint-all fuzz bench stop lock clean

all: configure
	@ninja -C $(BUILD) -j $(JOBS)

# Ninja runs CMake again by itself when a CMakeLists.txt changes, so this is needed only once.
configure: $(BUILD)/build.ninja
$(BUILD)/build.ninja:
	@cmake -S . -B $(BUILD) -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo

check-quick: all
	@ctest --test-dir $(BUILD) -L unit -LE long -j $$((2 * $(JOBS) + 1)) --output-on-failure

test:
	@.venv/bin/python scripts/test-all

fmt:
	@tools/fmt

lint: configure
	@.venv/bin/python tools/lint --changed

lint-all: configure
	@.venv/bin/python tools/lint --all

fuzz:
	@.venv/bin/python tools/fuzz --time $(TIME) $(T)

bench: all
	@ninja -C $(BUILD) -j $(JOBS) cofferd-null
	@.venv/bin/python tests/bench/run.py

stop:
	@$(BUILD)/bin/coffer down

# The lock file of the Python tools, made anew from scripts/requirements.in.
lock:
	@tools/lock-python

clean:
	@rm -rf build build-asan build-tsan build-fuzz

# kill -9 of writers, N times; COFFER_SEED replays one.
N ?= 500
.PHONY: crash
crash: all
	@COFFER_CRASH_LOOPS=$(N) $(BUILD)/src/store/store_test_crash

.PHONY: faults
faults: all
	@COFFER_FAULT_STEP=1 $(BUILD)/src/store/store_test_fault

# Re-encryption killed and failed at every single step, and ROTATIONS of them in a row under load.
ROTATIONS ?= 1000
.PHONY: rewrites
rewrites: all
	@COFFER_REWRITE_STEP=1 COFFER_ROTATIONS=$(ROTATIONS) $(BUILD)/src/store/store_test_rewrite

# A thousand rotations of the SMK of a node under load, and a hundred kills.
.PHONY: rotations
rotations: all
	@COFFER_ROTATIONS=$(ROTATIONS) COFFER_ROTATION_KILLS=100 .venv/bin/python -m pytest -q --timeout=36000 tests/keys/test_rotation.py

.PHONY: connections
connections: all
	@.venv/bin/python tests/bench/connections.py

ROUNDS ?= 50
.PHONY: drill
drill: all
	@.venv/bin/python tests/bench/drill.py --rounds $(ROUNDS)

# Its rounds are ten times as many in the same time.
.PHONY: rounds
rounds: ROUNDS = 100
rounds: all
	@COFFER_ROUNDS=$(ROUNDS) .venv/bin/python -m pytest -q --timeout=36000 tests/keys/test_rounds.py

.PHONY: custody
custody: all
	@.venv/bin/python tests/bench/custody.py
