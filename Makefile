# `make run` and `make test` need rustup, a C compiler and make. `make check` needs what `make tools` installs.

.PHONY: run test check lint audit tools bench bench-scale test-openapi test-clients test-jira test-load test-nodes test-interop test-openstack test-postgres-versions test-ha test-upgrade e2e docs snapshots

run: ## Build, start, apply the examples
	cargo run --package stateward -- serve --data ./data --apply examples/basics

test: ## Everything that needs no other service; what did not run is named at the end
	@tests/skipped.py --reset
	cargo test --workspace
	@tests/skipped.py

check: lint test audit ## What a change has to pass

CIRCLES_MAX = 0
lint: ## Format, lints, the register of comments and docs, circles of imports, what docs are made from
	cargo fmt --all --check
	tests/lint/words.py
	tests/lint/circles.py $(CIRCLES_MAX)
	tests/lint/module_index.py --check
	tests/lint/named_tests.py
	tests/lint/named_files.py
	cargo clippy --workspace --all-targets -- --deny warnings
	cargo clippy --package stateward --test load --test openstack -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps --document-private-items

audit: ## Dependencies and spelling
	cargo deny check bans licenses sources
	tests/lint/old_sqlite
	cargo machete
	typos

tools: ## Install what `audit` needs
	cargo install --locked cargo-deny cargo-machete typos-cli

# STORE alone: one node and three on that database. With PEER_STORE, another database of the same server: beside the stock peer.
BENCH_PEER = --peer-store "$(PEER_STORE)" --peer $(or $(CARGO_TARGET_DIR),tests/interop/target)/release/stock-peer
BENCH_POSTGRES = --store "$(STORE)" $(if $(PEER_STORE),$(BENCH_PEER))
bench: ## Measure this machine: requests, latency, convergence, replay; docs/performance.md explains the figures
	cargo build --release --workspace
	$(if $(PEER_STORE),cargo build --release --locked --manifest-path tests/interop/Cargo.toml --package stock-peer)
	$(or $(CARGO_TARGET_DIR),target)/release/stateward bench $(if $(STORE),$(BENCH_POSTGRES))

N ?= 100000
bench-scale: ## Measure lists, metrics, start, stop, memory and disk with N entities, against a hundredth of them
	cargo build --release --workspace
	$(or $(CARGO_TARGET_DIR),target)/release/stateward bench --scale $(N) --check

test-openapi: ## The served OpenAPI document with schemathesis (from PyPI), with and without a token
	tests/openapi/run

test-clients: ## Clients generated from the OpenAPI document, for Python (PyPI) and TypeScript (npm)
	tests/openapi/clients

test-jira: ## The fake JIRA against Atlassian's OpenAPI description (Prism, from npm) and two foreign clients (PyPI, npm)
	tests/jira/run

LOAD_PROFILE ?= release
test-load: ## Promises that only show at full size, with the release build or the one that LOAD_PROFILE names
	cargo test --profile $(LOAD_PROFILE) --package stateward --test load -- --nocapture --test-threads 1

# Tests that look into the files of the embedded store.
OF_FILES = access::namespaces adoption::fixture audit::backup audit::export audit::offline audit::verify::what_was cli::local::a_stopped \
	damaged_views moved_files operating::objects positions::the_command proxies::an_encrypting startup::a_second startup::broken \
	startup::foreign startup::a_full_disk streams::commands too_deep
# Tests of one process: its limits, descriptors and metrics, a pipe that is read once, a crash point that the only worker passes, and
# which of two rounds of it comes first. `nodes::` start several nodes themselves.
OF_ONE_PROCESS = adoption::a_result bounds::waiting environment::a_configuration kill::frozen::a_worker operating::a_token_over \
	operating::an_overload operating::the_metrics ownership::running_out nodes::
NODES_TESTS ?=
THREE_TESTS ?= $(NODES_TESTS)
ON_POSTGRES = STATEWARD_TEST_STORE=postgres STATEWARD_TEST_CRASH_POINTS=$(if $(NODES_TESTS),some,all) \
	STATEWARD_TEST_WATCH_SECONDS=$(if $(NODES_TESTS),10,60)
test-nodes: ## The end-to-end suites with the store on PostgreSQL: one node, then three in turn; NODES_TESTS and THREE_TESTS name some
	$(ON_POSTGRES) cargo test --package stateward --test e2e -- $(NODES_TESTS) $(OF_FILES:%=--skip %)
	$(ON_POSTGRES) STATEWARD_TEST_NODES=3 cargo test --package stateward --test e2e -- $(THREE_TESTS) $(OF_FILES:%=--skip %) $(OF_ONE_PROCESS:%=--skip %)

# Everything that has sqlx 0.8: a workspace, a lock and a target folder of its own.
INTEROP_LIVES ?= 1000
test-interop: ## Programs on cqrs-es and postgres-es beside the product: a reader, a view, foreign appends, the stock peer
	test -n "$(STATEWARD_BIN)" || cargo build --package stateward
	cd tests/interop && cargo fmt --all --check
	cd tests/interop && cargo clippy --locked --workspace --all-targets -- --deny warnings
	cd tests/interop && cargo build --locked --workspace --bins
	cd tests/interop && INTEROP_LIVES=$(INTEROP_LIVES) cargo test --locked --workspace

test-postgres-versions: ## The store's suite on each installed PostgreSQL, and on 18 from npm
	tests/postgres-versions

test-ha: ## Faults of a database that Patroni keeps available, and of three nodes on it: HA=quick takes 5 minutes, all 30
	test -n "$(STATEWARD_BIN)" || cargo build --package stateward
	tests/ha/run

test-upgrade: ## Three nodes of an earlier commit (UPGRADE_FROM) are replaced one by one under load
	test -n "$(STATEWARD_BIN)" || cargo build --package stateward --features fail/failpoints
	tests/ha/upgrade

test-openstack: ## The OpenStack kinds and the binary, in the project of the cloud that OS_CLOUD names
	STATEWARD_TEST_OPENSTACK=1 cargo test --workspace --test contract openstack -- --nocapture --test-threads=4 --skip faults
	STATEWARD_TEST_OPENSTACK=1 cargo test --workspace --test contract openstack::faults -- --nocapture --test-threads=1
	STATEWARD_TEST_OPENSTACK=1 cargo test --workspace --test openstack -- --nocapture --test-threads=4 --skip faults --skip alone
	STATEWARD_TEST_OPENSTACK=1 cargo test --workspace --test openstack -- faults alone --nocapture --test-threads=1

e2e: ## The binary from outside only
	cargo test --package stateward --test e2e

docs: ## Write the pages that are made from the kinds and from the modules
	tests/lint/module_index.py
	UPDATE_DOCS=1 cargo test --package stateward-drivers --test kind_pages

snapshots: ## Accept changed snapshots after a look at them
	INSTA_UPDATE=always cargo test --package stateward-domain
	git diff --stat -- '*.snap'
