# `make help` lists the targets.

TASK ?= Analyze the pros and cons of renewable energy
# The task as it was typed: nothing in it is make's or the shell's to expand, so it reaches the program as an
# environment variable, and `value` keeps make from reading it.
override TASK := $(value TASK)
export TASK

ROUNDS ?= 1

TOOLS := $(CURDIR)/.tools/bin
BINARIES := $(or $(CARGO_TARGET_DIR),target)/debug

.PHONY: help setup build run test test-ollama faults check bench bench-quick fmt docs schemas recording clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

setup: ## Install what running needs into .tools/
	@scripts/setup run

build: ## Build swarm and ollama-sim
	@[ -x "$(BINARIES)/swarm" ] || echo 'build: the first build takes 1 to 3 minutes' >&2
	@cargo build --locked -p swarm -p ollama-sim

run: setup build ## Start the stack, run a task with three agents (TASK="..."), and stop it
	@PATH="$(TOOLS):$$PATH" exec "$(BINARIES)/swarm" up --simulate=auto --run="$$TASK" \
		--agents research_agent,creative_agent,critical_agent

test: build ## Run every test; installs what they need into .tools/
	@scripts/setup test
	@PATH="$(TOOLS):$$PATH" SWARM_TEST_TOOLS="$(TOOLS)" cargo test --workspace --locked --no-fail-fast

test-ollama: build ## The same requests to real Ollama servers and the simulator; builds the servers first (15 minutes, once)
	@scripts/setup test
	@scripts/ollama
	@cargo build --locked -p swarm-tests --example ollama
	@PATH="$(TOOLS):$$PATH" SWARM_TEST_TOOLS="$(TOOLS)" "$(BINARIES)/examples/ollama" --document docs/ollama.md

faults: build ## Break real processes, ROUNDS times each (20 minutes a round), and write docs/faults.md; ONLY=F1,F8 SEED=7 for some
	@scripts/setup test
	@cargo build --locked -p swarm-tests --bins --example faults
	@PATH="$(TOOLS):$$PATH" SWARM_TEST_TOOLS="$(TOOLS)" "$(BINARIES)/examples/faults" --rounds "$(ROUNDS)" \
		$(if $(SEED),--seed "$(SEED)") $(if $(ONLY),--only "$(ONLY)",--document docs/faults.md)

check: ## Formatting, lints and documentation, with warnings denied
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets --locked -- -D warnings
	@RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

bench: bench-build ## Measure Swarm beside the minimal pipeline, and write docs/performance.md (10 minutes)
	@target/release/swarm-bench --document docs/performance.md

bench-quick: bench-build ## The same with fewer tasks, in a minute: to look at a change, not to quote
	@target/release/swarm-bench --quick --json target/bench-quick.json

.PHONY: bench-build
bench-build:
	@scripts/setup run
	@cargo build --release --locked -p swarm -p swarm-bench -p ollama-sim --target-dir target

fmt: ## Format the code
	@cargo fmt --all

docs: schemas ## Write what of docs/ is made from the code: schemas, subjects.md, errors.md
	@cargo run --locked -p swarm-tests --example reference -- docs

schemas: ## Write the JSON Schemas of the wire shapes into docs/schemas/
	@cargo run --locked -p swarm-protocol --example schemas -- docs/schemas

recording: setup build ## Record docs/recording.svg from a run with simulated models
	@scripts/record

clean: ## Remove what was built and what was installed into .tools/
	@cargo clean
	@rm -rf .tools
