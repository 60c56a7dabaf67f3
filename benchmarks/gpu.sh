#!/usr/bin/env bash
# All that a GPU is for but the paper, in under nine minutes, from the root of a checkout:
#   benchmarks/gpu.sh [FOLDER]
# PYTHON: an interpreter with the project's packages. DATA_ROOT: a set in STL-10's layout, else the
# stand-in. ANY_DEVICE=1: does it run? One cell at toy size on whatever there is.
# FOLDER (benchmarks/results/gpu) gets gpu.md, row by row as they are measured, figures.json (one
# document after the other) and gpu.log. The longest comes last: the deadline costs its last rows.
set -uo pipefail
deadline=525
mkdir -p "${1:-benchmarks/results/gpu}" && out=$(realpath "${1:-benchmarks/results/gpu}") || exit 2
data=(${DATA_ROOT:+--data-root "$(realpath "$DATA_ROOT")"})
cd "$(dirname "$0")/.." || exit 2
python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
models=(convnet resnet18 wrn45_2) all=semi,supervised,barlow
pair=convnet,resnet18 compile=on compiles=off,on quick=() long=(--steps 3125 --validations 20)
if [ -n "${ANY_DEVICE:-}" ]; then
    models=(convnet) all=semi pair=convnet compile=off compiles=off quick=(--quick) long=()
elif ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "gpu.sh: torch sees no GPU here" >&2
    exit 2
fi
cores=$(env -u OMP_NUM_THREADS nproc) # which nproc heeds
scratch=$(mktemp -d)
export TMPDIR=$scratch
trap 'rm -rf "$scratch"' EXIT
rm -f "$out"/gpu.md "$out"/gpu.log "$out"/figures.json
failed=0

# measure NAME ARGUMENTS...: prints the tables of a benchmark, and how long it took.
measure() {
    local name=$1 began=$SECONDS left=$((deadline - SECONDS)) figures code
    shift
    ((left > 0)) || { echo "no time left for $name $*" && return 1; }
    figures=$(mktemp)
    timeout --kill-after=5 "$left" "$python" -m "benchmarks.$name" "${quick[@]}" "${data[@]}" \
        --json "$figures" "$@" 2>>"$out/gpu.log"
    code=$?
    cat "$figures" >>"$out/figures.json"
    printf '\n%s: %d s, exit code %d\n\n' "$name" $((SECONDS - began)) $code
    return $code
}

# What cells of one kind share: --set in one benchmark, caches in the others.
outputs=$scratch/outputs
ratio=(--set ratio=1:5)
cells=("${ratio[@]}" --cache "$outputs/cache")
steps=("${ratio[@]}" --set "compile=$compile" --set "outputs=$outputs")

# Numbers, not times, so many at once; so are the compiled kernels that are timed later.
jobs=()
for model in "${models[@]}"; do
    measure precision --models "$model" --methods "$all" >"$scratch/precision-$model.md" &
    jobs+=($!)
    for method in ${all//,/ }; do
        measure end_to_end --part ours --seconds 0.1 --models "$model" --methods "$method" \
            "${steps[@]}" >/dev/null &
        jobs+=($!)
    done
done
for model in ${pair//,/ }; do
    measure bits --models "$model" --compile "$compiles" "${cells[@]}" >"$scratch/bits-$model.md" &
    jobs+=($!)
done
for job in "${jobs[@]}"; do wait "$job" || failed=1; done
{
    cat "$scratch"/*.md
    echo "side by side: $SECONDS s"
    measure whole_cell --models "$pair" --compile "$compiles" --seconds 3 "${long[@]}" "${cells[@]}" ||
        failed=1
    measure sharing --models convnet --steps 2000 "${cells[@]}" || failed=1
    measure end_to_end --models "$pair" --methods supervised,barlow --repeats 1 --seconds 2 \
        --workers "$cores" "${steps[@]}" || failed=1
    measure end_to_end --models "${models[-1]}" --methods "$all" --repeats 1 --seconds 2 \
        --workers "$cores" "${steps[@]}" || failed=1
    echo "all of it: $SECONDS s"
    exit $failed
} | tee -a "$out/gpu.md"
