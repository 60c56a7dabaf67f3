#!/usr/bin/env bash
# All that a GPU is for, in under 10 minutes, from the root of a checkout:
#   benchmarks/gpu.sh [FOLDER]
# PYTHON: an interpreter with the project's packages. DATA_ROOT: a set in STL-10's layout, else the
# stand-in. Tables go to FOLDER (benchmarks/results/gpu) as each measurement ends; the longest comes
# last and writes row by row, so that a cut at ten minutes costs no more than its last rows.
set -uo pipefail
deadline=590
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

# measure FILE NAME ARGUMENTS...
measure() {
    local file=$out/$1 name=$2 began=$SECONDS
    shift 2
    timeout $((deadline - SECONDS)) "$python" -m "benchmarks.$name" --json "$file.json" $data "$@" \
        >"$file.md" 2>"$file.log"
    local code=$?
    echo "$name $*: $((SECONDS - began)) s, exit code $code"
    cat "$file.md"
    tail -n 5 "$file.log"
    return $code
}

measure capture capture --repeats 3 --seconds 0.3 || failed=1

# Numbers, not times: the models side by side.
precision=()
for model in convnet resnet18 wrn45_2; do
    measure "precision-$model" precision --models "$model" &
    precision+=($!)
done
for process in "${precision[@]}"; do wait "$process" || failed=1; done

began=$SECONDS
timeout $((deadline - SECONDS)) "$python" -m sslbench.train -m experiment=smoke \
    "outputs=$scratch" >"$out/smoke.log" 2>&1 || failed=1
echo "experiment=smoke, 18 cells: $((SECONDS - began)) s" | tee "$out/smoke.md"
tail -n 3 "$out/smoke.log"

measure end_to_end end_to_end --repeats 1 --seconds 2 --workers "$(nproc)" || failed=1
echo "all of it: $SECONDS s"
exit $failed
