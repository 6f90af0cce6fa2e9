#!/usr/bin/env bash
# Every fuzzer there is, beginning with the inputs that were kept (testdata/fuzz), two
# at a time. FUZZ is how many seconds each kind of file or frame gets: the fuzzers of a
# package share it, those of core/wal, which reads most of what lies on disk, have it
# each; what is not the data path's gets a sixth. `FUZZ=600 test/fuzz.sh ./core/wal` for
# more of less.
set -euo pipefail
cd "$(dirname "$0")/.."
GO=${GO:-go}
FUZZ=${FUZZ:-60}
FUZZ=${FUZZ%s}
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

# Only packages that have one are built to be asked.
packages=("$@")
if [ ${#packages[@]} = 0 ]; then
  mapfile -t packages < <(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u)
fi

# seconds PACKAGE HOW-MANY-FUZZERS
seconds() {
  case $1 in
    */core/wal) echo "$FUZZ" ;;
    */core/wal/*|*/core/replica|*/protocol|*/protocol/*) echo $(((FUZZ + $2 - 1) / $2)) ;;
    *) echo $(((FUZZ + 6 * $2 - 1) / (6 * $2))) ;;
  esac
}

jobs=$logs/jobs
names=()
while read -r first second _; do
  case $first in
    Fuzz*) names+=("$first") ;;
    ok)
      for name in ${names[@]+"${names[@]}"}; do
        printf '%s %s %s\n' "$second" "$name" "$(seconds "$second" ${#names[@]})"
      done
      names=()
      ;;
  esac
done < <($GO test -list '^Fuzz' "${packages[@]}") >"$jobs"
[ -s "$jobs" ] || { echo "no fuzzer was found in ${packages[*]}"; exit 1; }

# one PACKAGE FUZZER SECONDS: what it says goes to a file of its own.
one() {
  local log=$logs/${1//\//_}.$2
  # The limit is for a fuzzer that hangs; go test has none of its own while it fuzzes. An
  # input that reaches new code is made smaller for up to 60 s unless told otherwise: all of
  # a short share, and no other input is tried meanwhile.
  if timeout $(($3 + 300)) "$GO" test -run '^$' -fuzz "^$2\$" -fuzztime "$3s" -fuzzminimizetime 100x -parallel 1 "$1" >"$log" 2>&1; then
    printf 'ok    %s %s: %s\n' "$1" "$2" "$(grep -o 'execs: [0-9]*' "$log" | tail -1)"
    return
  fi
  local input
  input=$(sed -n 's/.*Failing input written to //p' "$log" | head -1)
  if [ -z "$input" ] && grep -q '^ *context deadline exceeded$' "$log" && ! grep -qE 'panic|_test\.go:[0-9]+|DATA RACE' "$log"; then
    # Go's fuzzing engine says so at the end of -fuzztime if a worker does not answer in
    # time (golang.org/issue/56238): no input has failed.
    printf 'ok    %s %s: ended by its time, no input has failed\n' "$1" "$2"
    return
  fi
  sed 's/^/      /' "$log"
  printf 'FOUND %s %s\n' "$1" "$2"
  if [ -n "$input" ]; then
    printf '      again with: go test -run=%s/%s %s\n' "$2" "$(basename "$input")" "$1"
    local file
    file=$($GO list -f '{{.Dir}}' "$1")/$input
    printf '      the input, %s:\n' "$input"
    sed 's/^/      /' "$file"
  fi
  return 1
}
export -f one
export GO logs

xargs -P 2 -L 1 bash -c 'one "$@"' fuzz <"$jobs"
