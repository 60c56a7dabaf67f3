#!/usr/bin/env bash
# The whole paper on a GPU, a call at a time, from the root of a checkout:
#   benchmarks/paper_gpu.sh OUT SECONDS
# Trains experiment=paper, several cells at a time, and stops before SECONDS are over; the same call
# goes on. Exit codes: 0 all cells are done; 143 stopped: call it again; others as the sweep's.
# OUT gets a pack of the done cells (benchmarks/pack.py): records, curves, embeddings, no weights.
# Where the cells' own folder is gone, as on a new machine, a pack is gone on from: its cells are not
# trained again. Cells that were stopped are in no pack, so they start anew there.
#   DATA_ROOT     a set in STL-10's layout            PYTHON   an interpreter with the packages
#   SEEDS (0)     such as 0,1,2                       CELLS (3)     at a time
#   EXPERIMENT (paper)   another one of conf/experiment
#   OUTPUTS (outputs/paper_gpu)   the cells' folder   PACK (OUT)    a folder with a pack to go on from
#   SET           further settings                    ANY_DEVICE=1  without a GPU too
set -uo pipefail
if [ $# -ne 2 ] || [ -z "${DATA_ROOT:-}" ]; then
    echo "usage: DATA_ROOT=folder benchmarks/paper_gpu.sh OUT SECONDS" >&2
    exit 2
fi
limit=$2
mkdir -p "$1" && out=$(realpath "$1") && pack=$(realpath "${PACK:-$out}") &&
    root=$(realpath "$DATA_ROOT") && cd "$(dirname "$0")/.." || exit 2
python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
outputs=${OUTPUTS:-outputs/paper_gpu} cells=${CELLS:-3}
# For the cells that run: saving at the worst in mid-evaluation; then packing.
reserve=$((limit / 5 < 75 ? limit / 5 : 75))
if [ -z "${ANY_DEVICE:-}" ] &&
    ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "paper_gpu.sh: torch sees no GPU here" >&2
    exit 2
fi
if [ ! -d "$outputs/cells" ] && [ -e "$pack/cells-1.tar.xz" ]; then
    "$python" -m benchmarks.pack --unpack --to-go-on "$pack" "$outputs" || exit 2
fi
mkdir -p "$outputs"
left=$((limit - reserve - SECONDS))
((left > 0)) || { echo "paper_gpu.sh: $limit seconds are too few" >&2 && exit 2; }

while sleep 0.5; do
    nvidia-smi --id=0 --query-gpu=utilization.gpu --format=csv,noheader,nounits
done >"$outputs/utilisation.txt" 2>/dev/null &
sampling=$!
# shellcheck disable=SC2086  # SET is several words
timeout --foreground --preserve-status --signal=TERM --kill-after=$((reserve * 2 / 3)) \
    $left "$python" -m sslbench.train -m "experiment=${EXPERIMENT:-paper}" \
    "seed=${SEEDS:-0}" data=layout "data.root=$root" tracking=off "outputs=$outputs" \
    hydra/launcher=joblib "hydra.launcher.n_jobs=$cells" "cells_per_device=$cells" ${SET:-} \
    >"$outputs/sweep.log" 2>&1
code=$?
kill $sampling
tail -n 40 "$outputs/sweep.log"
awk '{ sum += $1 } END { if (NR) printf "GPU utilisation: %.0f %%\n", sum / NR }' \
    "$outputs/utilisation.txt"
"$python" -m benchmarks.pack "$outputs" "$out" || code=1
if [ $code -eq 0 ]; then
    "$python" -m sslbench.report --no-figures --outputs "$outputs" >"$out/report.txt"
fi
echo "$SECONDS s" >>"$outputs/calls.txt"
echo "this call: $SECONDS s; calls on these outputs: $(paste -sd ' ' "$outputs/calls.txt")"
exit $code
