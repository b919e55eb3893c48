#!/usr/bin/env bash
# Offline inference with the C++ program and its accuracy, with the published arguments: run_infer_310.sh on any device.
# usage: bash run_infer_cpp.sh MINDIR_PATH DATA_PATH DEVICE_TYPE [DEVICE_ID] [--resume]
#   DEVICE_TYPE: Ascend (an Ascend 310, or the card that GLOREXT_DEVICE names) or CPU
set -euo pipefail
resume=()
if [ $# -gt 0 ] && [ "${!#}" = --resume ]; then resume=(--resume); set -- "${@:1:$#-1}"; fi
if [ $# -lt 3 ] || [ $# -gt 4 ]; then sed -n 's/^# usage: /usage: /p' "$0" >&2; exit 2; fi
case $3 in
  Ascend) export GLOREXT_DEVICE="${GLOREXT_DEVICE:-ascend310}" ;;
  CPU) export GLOREXT_DEVICE=cpu ;;
  *) echo "run_infer_cpp.sh: DEVICE_TYPE must be Ascend or CPU, found $3" >&2; exit 2 ;;
esac
exec bash "$(dirname "$0")/run_infer_310.sh" "$1" "$2" "${4:-0}" ${resume[@]+"${resume[@]}"}
