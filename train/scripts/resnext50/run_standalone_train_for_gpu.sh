#!/bin/sh
# Trains ResNeXt50 on one GPU. With CKPT_PATH it starts from those weights.
arguments="DEVICE_ID DATA_PATH [CKPT_PATH]" command="glorext train"
. "$(dirname "$0")/../arguments.sh"
exec "$PYTHON" -m glorext.train --recipe resnext50_imagenet --platform GPU --is_distributed 0 \
  --device_id "$DEVICE_ID" --data_dir "$DATA_PATH" \
  ${CKPT_PATH:+--pretrained "$CKPT_PATH"} "$@"
