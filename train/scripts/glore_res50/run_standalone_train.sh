#!/bin/sh
# Trains GloRe-ResNet50 on one Ascend card; DATA_PATH holds train/ or the class folders themselves.
arguments="DATA_PATH DEVICE_ID" command="glorext train"
. "$(dirname "$0")/../arguments.sh"
[ ! -d "$DATA_PATH/train" ] || DATA_PATH=$DATA_PATH/train
exec "$PYTHON" -m glorext.train --recipe glore_res50_imagenet --platform Ascend --is_distributed 0 \
  --device_id "$DEVICE_ID" --data_dir "$DATA_PATH" "$@"
