#!/usr/bin/env bash
# The strong presets at full length on a GPU, a call at a time, from the root of a checkout:
#   benchmarks/strong.sh OUT SECONDS
# As benchmarks/paper_gpu.sh, which says what it takes, for the 9 cells of experiment=strong.
# SET=ratio=all for a set with fewer than 20 unlabelled images to a labelled one.
export EXPERIMENT=${EXPERIMENT:-strong} OUTPUTS=${OUTPUTS:-outputs/strong}
exec "$(dirname "$0")/paper_gpu.sh" "$@"
