# The single door: people and CI call these targets and nothing else.

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint lab-setup lab-test bench bench-compare bench-faults bench-soak

# rustup puts cargo here; a fresh shell may not have it in its path yet.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin

SHELL_SCRIPTS = .ci/run $(shell find tools -name '*.sh' -not -path '*/target/*')
PYTHON_SCRIPTS = $(shell find tools -name '*.py' -not -path '*/target/*')

help: ## show this
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup: ## install what building, the demo and the tests need (Debian 12)
	tools/setup.sh demo

demo: ## hear it work: a conversation of two languages, about a minute, no account needed
	tools/demo/demo.sh

test: setup lab-setup ## all tests; those with a real Asterisk where it can be had
	cargo build --workspace --bins
	cargo test --workspace
	@# What the optimiser leaves of it must not touch the heap either.
	cargo test --release -p diglot-rt -p diglot --test no_alloc --test tile_no_alloc

lint: ## what can be judged without running: formatting, lints, documentation, licences
	tools/setup.sh build
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --document-private-items
	@for script in $(SHELL_SCRIPTS); do bash -n $$script || exit 1; done
	@if command -v shellcheck >/dev/null; then shellcheck $(SHELL_SCRIPTS); \
	  else echo 'skipped: shellcheck is not installed'; fi
	@if command -v python3 >/dev/null; then \
	    PYTHONPYCACHEPREFIX=target/pycache python3 -m py_compile $(PYTHON_SCRIPTS); \
	  else echo 'skipped: python3 is not installed'; fi
	@if command -v cargo-deny >/dev/null; then cargo deny check bans licenses sources; \
	  else echo 'skipped: cargo-deny is not installed'; fi
	cargo test --test tidy

lab-setup: ## unpack a real Asterisk for the tests, once; "skipped: why" where it cannot be had
	@tools/asterisk-lab/lab.sh setup || [ $$? = 77 ]

lab-test: setup lab-setup ## only the tests that call through a real Asterisk
	cargo build --workspace --bins
	cargo test --test 'lab_*'

# What every measurement of whole programs needs. ARGUMENTS='--help' tells what each can be asked.
.PHONY: bench-programs
bench-programs:
	tools/setup.sh bench
	cargo build --release -p diglot -p rtp-blaster --bins

bench: bench-programs ## what stages cost, frames on time under load, tail latency; 10 to 20 minutes
	cargo bench --bench stages --bench rings -- --noplot --warm-up-time 1 --measurement-time 2
	cargo bench --bench frame_jitter
	cargo bench --bench tail_latency
	@python3 tools/bench/table.py target

bench-compare: bench-programs ## Diglot beside a bare echo and Debian's rtpengine, with the bars; 20 minutes
	python3 tools/bench/compare.py $(ARGUMENTS)

bench-faults: bench-programs ## 500 legs in peace for 10 minutes, then with each fault: no frame missing
	python3 tools/bench/faults.py $(ARGUMENTS)

bench-soak: bench-programs ## 200 legs for an hour: memory stays as it was after 5 minutes
	python3 tools/bench/soak.py $(ARGUMENTS)
