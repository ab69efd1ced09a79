#!/usr/bin/env bash
# Measure one GPU, in at most eight minutes, from a folder of wheels that needs no network:
#     python3 -m pip download --requirement requirements/gpu.txt --dest wheelhouse
#     bash benchmarks/gpu.sh wheelhouse
# Without a folder it runs with $PYTHON; --smallest makes it short enough for a CPU:
#     PYTHON=.venv/bin/python bash benchmarks/gpu.sh "" --smallest
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
wheels=$1
shift
if [ -n "$wheels" ]; then
    python3 -m venv --system-site-packages .gpu
    .gpu/bin/python -m pip install --quiet --no-index --find-links "$wheels" --requirement requirements/gpu.txt
    PYTHON=.gpu/bin/python
fi
HF_HUB_OFFLINE=1 timeout 480 "$PYTHON" -m benchmarks.gpu "$@"
