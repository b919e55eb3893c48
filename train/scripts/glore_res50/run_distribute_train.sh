#!/bin/sh
# Trains GloRe-ResNet50 on DEVICE_NUM Ascend cards; DATA_PATH holds train/ or the class folders themselves.
set -eu
usage() {
  echo "usage: sh run_distribute_train.sh DATA_PATH DEVICE_NUM [flags of glorext train]" >&2
  exit 2
}
[ $# -ge 2 ] || usage
case ${2:-} in '' | *[!0-9]*) usage ;; esac
data=$1 devices=$2
shift 2
case ${1:---} in --*) ;; *) usage ;; esac
[ ! -d "$data/train" ] || data=$data/train
exec "${PYTHON:-python3}" -m glorext.train.launch --devices "$devices" -- \
  --recipe glore_res50_imagenet --platform Ascend --is_distributed 1 --data_dir "$data" "$@"
