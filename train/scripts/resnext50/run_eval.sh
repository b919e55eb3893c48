#!/bin/sh
# Measures ResNeXt50's top-1 and top-5 on one device or on several: 0-7 or 0,2. PLATFORM is Ascend, GPU or CPU.
arguments="DEVICE_IDS DATA_PATH CKPT_PATH [PLATFORM]" command="glorext eval"
. "$(dirname "$0")/../arguments.sh"
case $DEVICE_IDS in
  *[,-]*) start="launch --device_ids $DEVICE_IDS eval" ;;
  *) start="evaluate --device_id $DEVICE_IDS" ;;
esac
exec "$PYTHON" -m glorext.train.$start --platform "${PLATFORM:-Ascend}" --data_dir "$DATA_PATH" \
  --pretrained "$CKPT_PATH" "$@"
