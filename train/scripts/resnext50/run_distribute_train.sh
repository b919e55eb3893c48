#!/bin/sh
# Trains ResNeXt50 on the Ascend cards of a rank table (made by `glorext rank-table`); NODE_RANK and MASTER_ADDR name
# this host and host 0 where the table has several.
arguments="RANK_TABLE_FILE DATA_PATH" command="glorext train"
. "$(dirname "$0")/../arguments.sh"
exec "$PYTHON" -m glorext.train.launch --rank_table "$RANK_TABLE_FILE" --host "${NODE_RANK:-0}" \
  --master "${MASTER_ADDR:-127.0.0.1}" train \
  --recipe resnext50_imagenet --platform Ascend --is_distributed 1 --data_dir "$DATA_PATH" "$@"
