#!/bin/sh
# Trains GloRe-ResNet50 on one Ascend card; DATA_PATH holds train/ or the class folders themselves.
set -eu
usage() {
  echo "usage: sh run_standalone_train.sh DATA_PATH DEVICE_ID [flags of glorext train]" >&2
  exit 2
}
[ $# -ge 2 ] || usage
case ${2:-} in '' | *[!0-9]*) usage ;; esac
data=$1 device=$2
shift 2
case ${1:---} in --*) ;; *) usage ;; esac
[ ! -d "$data/train" ] || data=$data/train
exec "${PYTHON:-python3}" -m glorext.train --recipe glore_res50_imagenet --platform Ascend --is_distributed 0 \
  --device_id "$device" --data_dir "$data" "$@"
