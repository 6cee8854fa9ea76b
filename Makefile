# Whatever a target needs is set up in .venv/ and .tools/ of this folder; when nothing is missing that is silent.
# Recipes replace their shell (exec), so that one Ctrl-C reaches the program once.

SHELL := /bin/bash
MAKEFLAGS += --no-print-directory
export PATH := $(CURDIR)/.tools/bin:$(PATH)
export DSN BASE

BENCHES = tables databases idle memory encoding history relay overrides containers

.PHONY: help setup run test test-matrix test-pairs generate bench image lint clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand --tabs=14

setup:  ## set up what the demo and the tests need
	@exec .ci/setup test

run:  ## the whole stack on loopback; DSN=postgresql://… watches a server of your own
	@.ci/setup run
	@exec .venv/bin/plimsoll demo $${DSN:+--dsn "$$DSN"}

test: lint  ## linters, then the suite on the oldest and the newest PostgreSQL
	@exec .venv/bin/pytest -n 3 --dist worksteal -m "not pairs" $(ARGS)

test-matrix:  ## the suite on PostgreSQL 13, 14, 15, 16, 17 and 18
	@.ci/setup matrix
	@PLIMSOLL_TEST_POSTGRES="13 14 15 16 17 18" exec .venv/bin/pytest -n 3 --dist worksteal -m "not pairs" $(ARGS)

test-pairs:  ## two of each process, each of which is killed in turn: a minute
	@.ci/setup test
	@exec .venv/bin/pytest -m pairs $(ARGS)

generate:  ## write what is made from other files: rules, routes, dashboards and two pages of docs
	@.ci/setup test
	@.venv/bin/python -m plimsoll.alerts.shipping
	@PYTHONPATH=grafana exec .venv/bin/python -m plimsoll_dashboards

bench:  ## what it costs, beside peers, into docs/performance.md; BENCHES="tables idle" runs only these
	@.ci/setup bench
	@for bench in $(BENCHES); do PYTHONPATH=tests .venv/bin/python tests/bench/bench_$$bench.py || exit; done

image:  ## the container image, plimsoll:latest; BASE=… names another base than Python's slim image
	@exec docker build --file exporter/Dockerfile --tag plimsoll $${BASE:+--build-arg "BASE=$$BASE"} \
		--build-arg "REVISION=$$(git rev-parse HEAD)" --build-arg "CREATED=$$(date -u +%Y-%m-%dT%H:%M:%SZ)" .

lint:  ## ruff and mypy
	@.ci/setup test
	@.venv/bin/ruff check --quiet
	@.venv/bin/ruff format --check
	@.venv/bin/mypy

clean:  ## remove everything that was set up or built
	rm -rf .venv .tools dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
