#!/usr/bin/env bash
# All that a GPU is for, in under 10 minutes, from the root of a checkout:
#   benchmarks/gpu.sh [FOLDER]
# PYTHON: an interpreter with the project's packages. DATA_ROOT: a set in STL-10's layout, else the
# stand-in. What ends within its limit is written to FOLDER (benchmarks/results/gpu) as it ends.
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
out=${1:-benchmarks/results/gpu}
data=${DATA_ROOT:+--data-root $DATA_ROOT}
mkdir -p "$out"
"$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || {
    echo "gpu.sh: torch sees no GPU here" >&2
    exit 2
}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

# measure SECONDS NAME ARGUMENTS...
measure() {
    local seconds=$1 name=$2 began=$SECONDS
    shift 2
    timeout "$seconds" "$python" -m "benchmarks.$name" --json "$out/$name.json" $data "$@" \
        >"$out/$name.md" 2>"$out/$name.log" || failed=1
    echo "$name: $((SECONDS - began)) s"
    cat "$out/$name.md"
    tail -n 5 "$out/$name.log"
}

measure 100 capture --repeats 3 --seconds 0.5
measure 240 end_to_end --repeats 1 --seconds 3 --workers "$(nproc)"
measure 150 precision

began=$SECONDS
timeout 110 "$python" -m sslbench.train -m experiment=smoke "outputs=$scratch" \
    >"$out/smoke.log" 2>&1 || failed=1
echo "experiment=smoke, 18 cells: $((SECONDS - began)) s" | tee "$out/smoke.md"
tail -n 3 "$out/smoke.log"
exit $failed
