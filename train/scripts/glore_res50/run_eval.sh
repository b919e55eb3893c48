#!/bin/sh
# Measures GloRe-ResNet50's top-1 and top-5 on one Ascend card or on several: 0-7 or 0,2. DATA_PATH holds val/ or the
# class folders themselves.
arguments="DATA_PATH DEVICE_IDS CKPT_PATH" command="glorext eval"
. "$(dirname "$0")/../arguments.sh"
[ ! -d "$DATA_PATH/val" ] || DATA_PATH=$DATA_PATH/val
case $DEVICE_IDS in
  *[,-]*) start="launch --device_ids $DEVICE_IDS eval" ;;
  *) start="evaluate --device_id $DEVICE_IDS" ;;
esac
# As in the published script, the output also goes to eval/log. The exit status of a pipe is that of tee, so the
# program's own goes through a file.
mkdir -p eval
{ "$PYTHON" -m glorext.train.$start --platform Ascend --data_dir "$DATA_PATH" \
  --pretrained "$CKPT_PATH" "$@" && status=0 || status=$?
  echo "$status" >eval/status; } | tee eval/log
read -r status <eval/status
rm eval/status
exit "$status"
