#!/bin/sh
# Measures GloRe-ResNet50's top-1 and top-5; DATA_PATH holds val/ or the class folders themselves.
set -eu
usage() {
  echo "usage: sh run_eval.sh DATA_PATH DEVICE_ID CKPT_PATH [flags of glorext eval]" >&2
  exit 2
}
[ $# -ge 3 ] || usage
case ${2:-} in '' | *[!0-9]*) usage ;; esac
data=$1 device=$2 checkpoint=$3
shift 3
case ${1:---} in --*) ;; *) usage ;; esac
[ ! -d "$data/val" ] || data=$data/val
exec "${PYTHON:-python3}" -m glorext.train.evaluate --network glore_res50 --platform Ascend --device_id "$device" \
  --data_dir "$data" --pretrained "$checkpoint" "$@"
