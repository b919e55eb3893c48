#!/bin/sh
# Trains ResNeXt50 on one Ascend card.
set -eu
usage() {
  echo "usage: sh run_standalone_train.sh DEVICE_ID DATA_PATH [flags of glorext train]" >&2
  exit 2
}
[ $# -ge 2 ] || usage
case ${1:-} in '' | *[!0-9]*) usage ;; esac
device=$1 data=$2
shift 2
case ${1:---} in --*) ;; *) usage ;; esac
exec "${PYTHON:-python3}" -m glorext.train --recipe resnext50_imagenet --platform Ascend --is_distributed 0 \
  --device_id "$device" --data_dir "$data" "$@"
