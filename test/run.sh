#!/usr/bin/env bash
# Every test there is: unit tests with the race detector, clusters of real
# processes, real clients. Called by `make test`.
#
# What the real clients need (kcat, a Java runtime, the Java client from Maven) is
# installed if that is allowed; what cannot be is skipped, and said so at the end.
set -euo pipefail
cd "$(dirname "$0")/.."
GO=${GO:-go}
SOAK=${SOAK:-60s}
skipped=()
found=

step() { printf '\n=== %s\n' "$*"; }

# have_or_install PROGRAM DEBIAN-PACKAGE
have_or_install() {
  command -v "$1" >/dev/null && return 0
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    step "installing $2"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2"; } >/dev/null 2>&1 || true
  fi
  command -v "$1" >/dev/null || { skipped+=("$1 is missing: apt-get install $2"); return 1; }
}

step "what the real clients need"
have_or_install kcat kcat || true
have_or_install java default-jre-headless || true
export QUORATE_JAVA_CLIENT=$PWD/test/compat/java/target/dependency
if [ ! "$QUORATE_JAVA_CLIENT" -nt test/compat/java/pom.xml ] && have_or_install mvn maven; then
  mvn -q -B -f test/compat/java/pom.xml dependency:copy-dependencies -DoutputDirectory="$QUORATE_JAVA_CLIENT" \
    && touch "$QUORATE_JAVA_CLIENT" || skipped+=("the Java client could not be fetched from Maven")
fi

have_or_install python3 python3-venv || true

step "build"
$GO build -trimpath -o bin/quorate ./cmd/quorate
export QUORATE_BINARY=$PWD/bin/quorate

step "unit tests, with the race detector"
$GO vet ./...
$GO vet -tags integration ./test/...
# The kit's mutants come next, with a table.
$GO test -race -timeout 15m -skip '^TestMutants$' ./...

step "fuzzers, ${FUZZ:-60} s for each kind of file or frame"
# What is kept in testdata/fuzz has run, and must hold, among the unit tests. What a
# fuzzer finds beyond is luck: it is printed with its input, said again at the end, and
# refuses nothing, or the same commit would land one day and not the next. `make fuzz`
# fails for it.
if ./test/fuzz.sh; then :; elif [ $? = 123 ]; then # of xargs: some of them found something
  found="inputs that fail, above: keep them in testdata/fuzz, and mend what they show"
else
  exit 1
fi

step "hostile clients beside 5000 idle ones"
$GO test -count=1 -timeout 10m -run TestHostileClients -v ./core -args -idle 5000 2>&1 | grep -E "hostile_test|^ok|^FAIL|^---"

step "the mutants of the conformance kit"
mutants=$(mktemp)
$GO test -race -count=1 -timeout 15m -run '^TestMutants$' -v ./consensus/consensustest/kit >"$mutants" 2>&1 || { grep -v ' INFO ' "$mutants"; exit 1; }
sed -n 's/^.*mutants_test.go:[0-9]*: \(.*caught by\)/\1/p' "$mutants"
rm -f "$mutants"

step "the conformance kit on the real binaries"
make verify SEED="${VERIFY_SEED:-1}"

step "clusters of real processes"
# One package after the other: each wants the machine to itself.
$GO test -p 1 -count=1 -tags integration -timeout 30m ./test/cluster/...

step "power cuts in memory"
make crash-memory CUTS=10000

step "power cuts under a real node"
cuts=$(mktemp)
for backend in solo etcd-raft hashicorp-raft; do
  $GO test -count=1 -tags integration -timeout 10m -v -run TestPowerCuts ./test/crash/... -crash.backend $backend >"$cuts" 2>&1 || { cat "$cuts"; exit 1; }
  grep -E '^(---|ok)|power cuts, |SKIPPED' "$cuts"
done
while read -r line; do skipped+=("$line"); done < <(sed -n 's/.*SKIPPED, and so not tested: //p' "$cuts")
rm -f "$cuts"

step "the example plugins, and a new one, as a stranger builds them"
strangers=$(mktemp)
$GO test -count=1 -tags integration -timeout 30m -v ./test/thirdparty/... >"$strangers" 2>&1 || { cat "$strangers"; exit 1; }
grep -E '^(---|ok)| level [1-4], seed | +(ok|BROKEN|not run)[,:] ' "$strangers"
while read -r line; do skipped+=("$line"); done < <(sed -n 's/.*SKIPPED, and so not tested: //p' "$strangers")
rm -f "$strangers"

step "the command line"
$GO test -count=1 -tags integration -timeout 10m ./test/cli/...

step "real clients"
$GO test -count=1 -tags integration -timeout 20m ./test/compat/...

step "soak, $SOAK on each backend"
$GO test -count=1 -tags integration -timeout 60m -run TestSoak -v ./test/cluster/... -soak "$SOAK"

if [ -n "$found" ]; then
  printf '\n*** FOUND: %s\n' "$found"
fi
if [ ${#skipped[@]} -gt 0 ]; then
  printf '\n*** SKIPPED, and so not tested:\n'
  printf '***   %s\n' "${skipped[@]}"
fi
printf '\nall tests passed\n'
