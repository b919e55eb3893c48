#!/bin/sh
# Trains ResNeXt50 on eight GPUs, or as many as DEVICE_NUM says.
set -eu
usage() {
  echo "usage: sh run_distribute_train_for_gpu.sh DATA_PATH [flags of glorext train]" >&2
  exit 2
}
[ $# -ge 1 ] || usage
case $1 in --*) usage ;; esac
data=$1
shift
case ${1:---} in --*) ;; *) usage ;; esac
exec "${PYTHON:-python3}" -m glorext.train.launch --devices "${DEVICE_NUM:-8}" -- \
  --recipe resnext50_imagenet --platform GPU --is_distributed 1 --data_dir "$data" "$@"
