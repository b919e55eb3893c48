#!/bin/sh
# Trains ResNeXt50 on the Ascend cards of a rank table (made by `glorext rank-table`). Where the table has several hosts,
# NODE_RANK is the number of this one; MASTER_ADDR is the address of host 0 where that is not in the table. With
# CKPT_PATH it starts from those weights.
arguments="RANK_TABLE_FILE DATA_PATH [CKPT_PATH]" command="glorext train"
. "$(dirname "$0")/../arguments.sh"
exec "$PYTHON" -m glorext.train.launch --rank_table "$RANK_TABLE_FILE" --host "${NODE_RANK:-0}" \
  ${MASTER_ADDR:+--master "$MASTER_ADDR"} train \
  --recipe resnext50_imagenet --platform Ascend --is_distributed 1 --data_dir "$DATA_PATH" \
  ${CKPT_PATH:+--pretrained "$CKPT_PATH"} "$@"
