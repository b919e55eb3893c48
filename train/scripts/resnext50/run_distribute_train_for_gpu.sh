#!/bin/sh
# Trains ResNeXt50 on eight GPUs, or as many as DEVICE_NUM says. With CKPT_PATH it starts from those weights.
arguments="DATA_PATH [CKPT_PATH]" command="glorext train"
. "$(dirname "$0")/../arguments.sh"
exec "$PYTHON" -m glorext.train.launch --devices "${DEVICE_NUM:-8}" train \
  --recipe resnext50_imagenet --platform GPU --is_distributed 1 --data_dir "$DATA_PATH" \
  ${CKPT_PATH:+--pretrained "$CKPT_PATH"} "$@"
