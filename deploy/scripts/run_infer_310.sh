#!/usr/bin/env bash
# Offline inference on an Ascend 310 and its accuracy, with the published arguments. Any failing step fails the script.
# usage: bash run_infer_310.sh MINDIR_PATH DATA_PATH [DEVICE_ID] [--resume]
#   MINDIR_PATH: a model that `glorext convert` wrote, its contract beside it
#   DATA_PATH:   validation pictures, one folder for each class
#   DEVICE_ID:   which card, 0 by default
#   --resume:    go on with a run that was ended, from result_Files.partial
set -euo pipefail
resume=()
if [ $# -gt 0 ] && [ "${!#}" = --resume ]; then resume=(--resume); set -- "${@:1:$#-1}"; fi
if [ $# -lt 2 ] || [ $# -gt 3 ]; then sed -n 's/^# usage: /usage: /p' "$0" >&2; exit 2; fi
for path in "$1" "$2"; do
  [ -e "$path" ] || { echo "run_infer_310.sh: $path does not exist" >&2; exit 2; }
done
device_id=${3:-0}
[[ $device_id =~ ^[0-9]+$ ]] || { echo "run_infer_310.sh: DEVICE_ID must be a number, found $3" >&2; exit 2; }
out=result_Files
if [ ${#resume[@]} -eq 0 ]; then rm -rf "$out" "$out.partial"; fi
# GLOREXT_DEVICE lets the same script serve the other cards and, to try it out, the CPU.
glorext infer "$1" --images "$2" --device "${GLOREXT_DEVICE:-ascend310}" --device_id "$device_id" --out "$out" --accuracy \
  ${resume[@]+"${resume[@]}"}
