#!/bin/sh
# Trains ResNeXt50 on the Ascend cards of a rank table (made by `glorext rank-table`); NODE_RANK and MASTER_ADDR name
# this host and host 0 where the table has several.
set -eu
usage() {
  echo "usage: sh run_distribute_train.sh RANK_TABLE_FILE DATA_PATH [flags of glorext train]" >&2
  exit 2
}
[ $# -ge 2 ] || usage
table=$1 data=$2
shift 2
case ${1:---} in --*) ;; *) usage ;; esac
exec "${PYTHON:-python3}" -m glorext.train.launch --rank_table "$table" --host "${NODE_RANK:-0}" \
  --master "${MASTER_ADDR:-127.0.0.1}" -- \
  --recipe resnext50_imagenet --platform Ascend --is_distributed 1 --data_dir "$data" "$@"
