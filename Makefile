# Everything that a developer or CI runs. Each target sets up what it needs.
SHELL := /bin/bash
GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION) -X github.com/secretx/secretx/docker-plugin/metadata.version=$(VERSION)
BUILD := $(GO) build -ldflags '$(LDFLAGS)'
# The same for builds, tests and releases: what they have in common is so compiled once.
export CGO_ENABLED := 0
export GOFLAGS := -trimpath -buildvcs=false $(filter-out -trimpath -buildvcs=%,$(GOFLAGS))
GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.PHONY: docs build demo test test-matrix unit e2e soak fuzz public bench lint cross tidy-check fmt-check clean testbed release-check test-clis

build: ## both plugins into bin/
	@scripts/build-probe
	$(BUILD) -o bin/docker-secretx ./docker-plugin/cmd/docker-secretx
	$(BUILD) -o bin/kubectl-secretx ./kubectl-plugin/cmd/kubectl-secretx

testbed: build ## a real Swarm and a real Kubernetes on this machine
	scripts/testbed up

demo: testbed ## the lab, end to end, on the testbed
	scripts/demo

test: unit e2e ## all tests

unit: ## what needs no testbed, in under a minute
	@scripts/build-probe
	$(GO) test ./...

e2e: build ## contract suites and end-to-end tests on the testbed
	scripts/testbed up --swarms 2
	eval "$$(scripts/testbed env)" && scripts/test

test-matrix: build ## the end-to-end tests on each engine and Kubernetes that the testbed can have
	scripts/test-matrix

soak: build ## kill -9, 500 adversarial secrets, leaks: long campaigns
	scripts/testbed up --swarms 2
	eval "$$(scripts/testbed env)" && $(GO) test -tags soak -count=1 -timeout 120m -v ./scripts/e2e

fuzz: ## what translate reads, for an hour in all (FUZZTIME=1m for a look)
	scripts/fuzz

public: export SECRETX_CORPUS := $(abspath $(SECRETX_CORPUS))
public: build ## what comes out of public files, given to both sides
	@test -n "$$SECRETX_CORPUS" || { echo 'SECRETX_CORPUS names no folder for the public files; with SECRETX_CORPUS_FETCH=1 they are fetched into it' >&2; exit 2; }
	$(GO) test -tags corpus -count=1 ./shared/translate -run TestPublic
	scripts/testbed up --swarms 2
	eval "$$(scripts/testbed env)" && $(GO) test -tags corpus -count=1 -timeout 60m -parallel 2 -v ./scripts/e2e -run TestPublic

bench: build ## ratios against bare clients, in one run
	scripts/testbed up
	scripts/bench

fmt-check:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo 'run gofmt -w on these'; exit 1; }

tidy-check:
	$(GO) mod tidy -diff

lint: fmt-check tidy-check
	$(GO) vet ./...
	$(GO) vet -tags 'e2e soak corpus' ./...
	$(GO) run $(GOLANGCI_LINT) run ./...

cross: ## every platform that is released
	@scripts/build-probe
	@for p in linux darwin windows; do for a in amd64 arm64; do \
	  echo "build $$p/$$a"; \
	  GOOS=$$p GOARCH=$$a $(GO) build ./docker-plugin/... ./kubectl-plugin/... || exit 1; \
	done; done

release-check: ## a release as a snapshot, twice; installed, tried and removed in a fresh Debian
	scripts/release-check

test-clis: testbed ## the oldest and the newest docker and kubectl run the plugins
	scripts/test-clis

clean:
	rm -rf bin dist shared/probe/embedded/*.gz

docs: ## the reference and manual pages, from the commands, and the table of rights
	$(GO) test ./shared/rights -run TestTable -args -update
	$(GO) test ./docker-plugin/cmd/... ./kubectl-plugin/... -run TestReferencePages -args -update
