#!/usr/bin/env bash
# GloRe-ResNet50's name for run_infer_310.sh: the contract beside the model says which network it is.
# usage: bash run_310_infer.sh MINDIR_PATH DATA_PATH [DEVICE_ID] [--resume]
set -euo pipefail
if [ $# -lt 2 ] || [ $# -gt 4 ]; then sed -n 's/^# usage: /usage: /p' "$0" >&2; exit 2; fi
exec bash "$(dirname "$0")/../run_infer_310.sh" "$@"
