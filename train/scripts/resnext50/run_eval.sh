#!/bin/sh
# Measures ResNeXt50's top-1 and top-5.
set -eu
usage() {
  echo "usage: sh run_eval.sh DEVICE_ID DATA_PATH CKPT_PATH [PLATFORM] [flags of glorext eval]" >&2
  exit 2
}
[ $# -ge 3 ] || usage
case ${1:-} in '' | *[!0-9]*) usage ;; esac
device=$1 data=$2 checkpoint=$3 platform=Ascend
shift 3
case ${1:---} in Ascend | GPU | CPU) platform=$1 && shift ;; --*) ;; *) usage ;; esac
case ${1:---} in --*) ;; *) usage ;; esac
exec "${PYTHON:-python3}" -m glorext.train.evaluate --platform "$platform" --device_id "$device" \
  --data_dir "$data" --pretrained "$checkpoint" "$@"
