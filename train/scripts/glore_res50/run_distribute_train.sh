#!/bin/sh
# Trains GloRe-ResNet50 on DEVICE_NUM Ascend cards; DATA_PATH holds train/ or the class folders themselves.
arguments="DATA_PATH DEVICE_NUM" command="glorext train"
. "$(dirname "$0")/../arguments.sh"
[ ! -d "$DATA_PATH/train" ] || DATA_PATH=$DATA_PATH/train
exec "$PYTHON" -m glorext.train.launch --devices "$DEVICE_NUM" train \
  --recipe glore_res50_imagenet --platform Ascend --is_distributed 1 --data_dir "$DATA_PATH" "$@"
