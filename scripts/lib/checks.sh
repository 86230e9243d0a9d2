# shellcheck shell=bash
# Steps with a limit of time each. What they find lies in a folder, a file a step, of which write_results makes one JSON file after every step: however a script ends,
# what it found is there. It sets `pieces` (that folder), `results` (the JSON file), `head` (the file's first fields), and:
most=0       # seconds for all steps together; 0: as long as it takes
factor=1     # times each limit
spared=0     # seconds at the end that steps now may not have
together=1   # steps at once, of check_each
noted=       # not empty: what fails is written down, and fails nothing
ended=running
limit=0 status=0 number=0 child=

# begin_results: from now on there are results, also where a signal or an error ends the script, and it ends when its time is over.
begin_results() {
  rm -rf "$pieces"
  mkdir -p "$pieces/checks" "$pieces/benchmarks" "$pieces/pytorch" "$(dirname "$results")"
  trap 'at_exit' EXIT
  trap 'ended=interrupted; exit 143' INT TERM HUP
  write_results
  [ "$most" != 0 ] || return 0
  # A process that not even SIGKILL ends, inside the driver, must not hold up the rest for ever.
  { trap 'kill "$child" 2>/dev/null; exit' TERM; sleep $((most - SECONDS)) & child=$!; wait "$child"; kill -TERM $$; } </dev/null >/dev/null 2>&1 &
}

at_exit() {
  local running
  running=$(jobs -p)
  # shellcheck disable=SC2086
  [ -z "$running" ] || kill $running 2>/dev/null || true
  write_results
}

# printable: lines that may stand in a JSON string
printable() { LC_ALL=C tr -cd '\n\040-\176' | tr -d '"\\' | cut -c 1-400; }

# All that is read to its end: a reader that stops early would end its writer, and under pipefail the script.
first_lines() { sed -n "1,$1p"; }
commas() { sed 's/^/    /; $!s/$/,/'; }

write_results() {
  local file name mark first=1
  {
    printf '{\n%s\n  "ended": "%s",\n  "seconds": %s,\n  "checks": [\n' "$head" "$ended" "$SECONDS"
    for file in "$pieces"/checks/*; do [ ! -f "$file" ] || cat "$file"; done | commas
    printf '  ],\n  "benchmarks": [\n'
    for file in "$pieces"/benchmarks/*.log; do
      [ -f "$file" ] || continue
      case $file in *-bench-mma-*) mark='"kernels": "mma.sync", ' ;; *-bench-cublaslt*) mark='"products": "cublaslt", ' ;; *) mark= ;; esac
      grep '^{.*}$' "$file" | sed "s/^{/{ $mark/" || true
    done | commas
    printf '  ],\n  "pytorch": {'
    for file in "$pieces"/pytorch/*.json; do
      [ -f "$file" ] || continue
      name=${file##*/[0-9][0-9][0-9]-pytorch-}
      printf '%s\n    "%s": ' "$([ "$first" ] || echo ,)" "${name%.json}"
      cat "$file"
      first=
    done
    printf '  }\n}\n'
  } >"$results.part"
  mv "$results.part" "$results"
}

# next_step NAME: the step's name in the folder, which keeps their order. Until it has ended, that is what is known of it.
next_step() {
  number=$((number + 1))
  printf -v step '%03d-%s' "$number" "$1"
  note "$1" null 'did not end'
}

# allowed NAME SECONDS [LEAST]: how long it may take now. Where there are not so many seconds left, it is noted as left out.
allowed() {
  limit=$((factor * $2))
  # 10: timeout gives 5 seconds to end in
  local left=$((most - SECONDS - spared - 10))
  if [ "$most" != 0 ] && [ "$left" -lt "$limit" ]; then limit=$left; fi
  [ "$limit" -lt "${3:-5}" ] || return 0
  echo "$1: left out, for lack of time"
  next_step "$1"
  note "$1" null 'left out, for lack of time'
  return 1
}

# note NAME EXIT WORDS: of a step that has not run
note() { printf '{ "name": "%s", "exit": %s, "seconds": 0, "said": "%s" }\n' "$1" "$2" "$3" >"$pieces/checks/$step"; }

# limited OUTPUT ERRORS COMMAND...: its exit code is the status. Waited for, so that a signal is heeded at once.
limited() {
  local out=$1 errors=$2
  shift 2
  rm -f "$out" "$errors"
  timeout -k 5 "$limit" "$@" >>"$out" 2>>"$errors" &
  child=$! status=0
  wait "$child" || status=$?
}

# record NAME SECONDS LOG: the status and what the log says as a line of JSON: counts where it ends with them, the first 20 of what failed.
record() {
  local name=$1 seconds=$2 log=$3 said counts='' failures=''
  said=$({ grep -E 'passed|SUMMARY|^# (pass|fail)' "$log" || [ "$status" = 0 ] || tail -n 1 "$log"; } | tail -n 2 | printable | tr '\n' ' ' || true)
  case $status in 124 | 137) said="ended after its limit of $limit s. $said" ;; esac
  counts=$(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed.*/ "passed": \1, "failed": \2,/p' "$log" | tail -n 1)
  [ "$counts" ] || [ "$status" = 0 ] || counts=" \"failed\": $(grep -c FAILED "$log" || true),"  # it did not come to its end
  printf '%-40s exit %s, %s s: %s\n' "$name" "$status" "$seconds" "$said"
  if [ "$status" != 0 ]; then
    failures=$({ grep FAILED "$log" || grep -E 'not ok|[Ee]rror|hazard' "$log" || tail -n 5 "$log"; } | first_lines 20 | printable || true)
    # shellcheck disable=SC2001
    [ -z "$failures" ] || sed 's/^/  /' <<<"$failures"
    failures=$([ -z "$failures" ] || sed 's/.*/"&"/' <<<"$failures" | paste -sd , -)
    [ "$noted" ] || : >"$pieces/failed"
  fi
  printf '{ "name": "%s", "exit": %s, "seconds": %s,%s "said": "%s", "failures": [%s] }\n' "$name" "$status" "$seconds" "$counts" "$said" "$failures" >"$pieces/checks/$step"
}

# check NAME SECONDS COMMAND...: its exit code, counts and failures. Never ends the script.
check() {
  local name=$1 from=$SECONDS
  allowed "$name" "$2" || return 0
  shift 2
  next_step "$name"
  limited "$pieces/$step.log" "$pieces/$step.log" "$@"
  record "$name" $((SECONDS - from)) "$pieces/$step.log"
  write_results
}

# check_each KIND SECONDS COMMAND... -- NAME...: the command with each name, a process each and several at once: one that hangs or faults costs no other.
check_each() {
  local kind=$1 seconds=$2 command=() name running=0
  shift 2
  while [ "$1" != -- ]; do command+=("$1"); shift; done
  shift
  for name in "$@"; do
    while [ "$running" -ge "$together" ]; do wait -n || true; running=$((running - 1)); write_results; done
    allowed "$kind-$name" "$seconds" || continue
    next_step "$kind-$name"
    {
      trap 'kill "$child" 2>/dev/null; exit 143' TERM
      from=$SECONDS
      limited "$pieces/$step.log" "$pieces/$step.log" "${command[@]}" "$name"
      record "$kind-$name" $((SECONDS - from)) "$pieces/$step.log"
    } &
    running=$((running + 1))
  done
  while [ "$running" != 0 ]; do wait -n || true; running=$((running - 1)); done
  write_results
}

# measure NAME SECONDS COMMAND...: JSON lines, each beginning with {, as far as it comes
measure() {
  local name=$1 from=$SECONDS
  allowed "$name" "$2" || return 0
  shift 2
  next_step "$name"
  limited "$pieces/benchmarks/$step.log" "$pieces/$step.errors" "$@"
  printf '%-40s exit %s, %s s: %s lines\n' "$name" "$status" $((SECONDS - from)) "$(grep -c '^{' "$pieces/benchmarks/$step.log" || true)"
  if [ "$status" = 0 ]; then rm -f "$pieces/checks/$step"; else record "$name" $((SECONDS - from)) "$pieces/$step.errors"; fi
  write_results
}
