# Two commands are all you need: `make run` and `make test`. See the README.
GO      ?= go
TOOL    := $(GO) tool -modfile=tools/go.mod
BACKEND ?= etcd-raft
SOAK    ?= 6m
CHAOS   ?= 10m
ROUNDS  ?= 200
SEED    ?= 0
POINTS  ?= 200
CUTS    ?= 10000
FUZZ    ?= 60
VERIFY_SOAK ?= 30m
PKG     ?= ./...
GENERATED = '*.pb.go' docs/plugins/rpc tools/proto/baseline.yaml

.PHONY: run build test unit race integration compat soak chaos crash crash-memory supervise verify verify-full lint breaking generate generate-check fuzz bench bench-consensus bench-go install-tools clean

## run: build, start one node with an embedded backend on 127.0.0.1:9092
run: build
	./bin/quorate serve --dev

## build: the one binary, bin/quorate
build:
	$(GO) build -trimpath -o bin/quorate ./cmd/quorate

## test: everything: unit, race, integration with real processes, real clients
test: build
	./test/run.sh

unit:
	$(GO) test $(PKG)

race:
	$(GO) test -race $(PKG)

## integration: clusters of real processes, and the command line
integration: build
	$(GO) test -count=1 -tags=integration -timeout 30m ./test/cluster/... ./test/cli/...

## compat: kcat, franz-go and the Java client against a cluster
compat: build
	$(GO) test -count=1 -tags=integration -timeout 20m ./test/compat/...

## soak: three nodes under load on each backend; SOAK=6m
soak: build
	$(GO) test -count=1 -tags=integration -timeout 60m -run TestSoak ./test/cluster/... -soak $(SOAK) -v

## supervise: brokers and plugins killed and frozen, one after the other; ROUNDS=200
supervise: build
	$(GO) test -count=1 -tags=integration -timeout 120m -run TestSupervisionLoop -v ./test/cluster/... -rounds $(ROUNDS) -round-seed $(if $(filter 0,$(SEED)),1,$(SEED))

## chaos: three nodes mistreated on each backend; CHAOS=10m, SEED=1 repeats a schedule
chaos: build
	$(GO) test -count=1 -tags=integration -timeout 120m -run TestChaos ./test/cluster/... -chaos $(CHAOS) -seed $(SEED) -v

## crash: the power of a real node is cut, on a mount that loses what was not synced; POINTS=200, BACKEND=solo|etcd-raft|hashicorp-raft, SEED
crash: build
	QUORATE_BINARY=$(CURDIR)/bin/quorate $(GO) test -count=1 -tags=integration -timeout 120m -v ./test/crash/... -crash.points $(POINTS) -crash.backend $(BACKEND) -crash.seed $(if $(filter 0,$(SEED)),1,$(SEED))

## crash-memory: power cuts in memory: the ring, logs on a ring, logs by themselves; CUTS=10000, SEED
crash-memory:
	$(GO) test -count=1 -timeout 60m -run Crash ./core/wal ./core/wal/ring -crash.points $(CUTS) -crash.seed $(SEED)

## fuzz: every fuzzer, as the gate does; FUZZ=60 seconds for each kind of input
fuzz:
	FUZZ=$(FUZZ) ./test/fuzz.sh

## verify: both built-in backends by the conformance kit, level 3, the quick form; SEED=1 repeats its choices
verify: build
	./bin/quorate plugin verify etcd-raft --level 3 --quick --parallel 2 --seed $(SEED)
	./bin/quorate plugin verify hashicorp-raft --level 3 --quick --parallel 2 --seed $(SEED)

## verify-full: every built-in backend at level 4, each for about an hour; VERIFY_SOAK=30m, PREVIOUS=path of an earlier quorate
verify-full: build
	./bin/quorate plugin verify solo --level 4 --soak $(VERIFY_SOAK) --seed $(SEED) --certificate bin $(if $(PREVIOUS),--previous $(PREVIOUS))
	./bin/quorate plugin verify etcd-raft --level 4 --soak $(VERIFY_SOAK) --seed $(SEED) --certificate bin $(if $(PREVIOUS),--previous $(PREVIOUS))
	./bin/quorate plugin verify hashicorp-raft --level 4 --soak $(VERIFY_SOAK) --seed $(SEED) --certificate bin $(if $(PREVIOUS),--previous $(PREVIOUS))

lint:
	$(GO) vet ./...
	$(TOOL) golangci-lint run ./...

## breaking: nothing of the .proto files in tools/proto/baseline.yaml was changed or taken away
breaking:
	$(TOOL) buf breaking --against tools/proto/baseline.yaml

## generate: code and docs from the .proto files; what they add becomes part of the baseline
generate: breaking
	$(GO) generate ./...
	$(TOOL) buf build --exclude-source-info -o tools/proto/baseline.yaml

## generate-check: what is generated must not differ from what is checked in
generate-check: generate
	git diff --exit-code -- $(GENERATED)
	@new=$$(git ls-files --others --exclude-standard -- $(GENERATED)); test -z "$$new" || { echo "generated, but not checked in:"; echo "$$new"; exit 1; }

## bench: the broker's figures beside what is to be reached, in some minutes; BENCH='-full' for longer
bench: build
	$(GO) run ./test/bench -binary bin/quorate -json bin/bench.json -only '^(one node|three nodes|consensus/hop|consensus/commit)' $(BENCH)

## bench-consensus: hop, commit and failover of both backends, in turns
bench-consensus: build
	$(GO) run ./test/bench -binary bin/quorate -json bin/bench.json -only '^consensus/' $(BENCH)

## bench-go: the benchmarks of single packages
bench-go:
	$(GO) test -run '^$$' -bench . -benchmem ./core/... ./plugins/... ./consensus/...

clean:
	rm -rf bin data
