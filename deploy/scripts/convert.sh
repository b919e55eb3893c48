#!/bin/sh
# Converts the model in card/ for the Ascend card with MindSpore Lite's converter, and writes its contract.
# No Python and no network; `selftest.sh` calls it once, and proves the result on the card.
# usage: MINDSPORE_LITE_HOME=FOLDER ./convert.sh
#   MINDSPORE_LITE_HOME: MindSpore Lite's SDK, or the folder mindspore_lite of its unpacked wheel; CANN must be set up
set -eu
if [ $# -ne 0 ] || [ -z "${MINDSPORE_LITE_HOME:-}" ]; then sed -n 's/^# usage: //p' "$0" >&2; exit 2; fi
# Without CANN's compiler the converter fails with an error that does not say so.
if [ ! -d "${ASCEND_HOME_PATH:-${ASCEND_TOOLKIT_HOME:-/nowhere}}" ]; then
  found=
  for place in /usr/local/Ascend/cann /usr/local/Ascend/ascend-toolkit "${HOME:-}/Ascend/cann" "${HOME:-}/Ascend/ascend-toolkit"; do
    [ -n "$found" ] || [ ! -f "$place/set_env.sh" ] || found=$place/set_env.sh
  done
  advice="install CANN and source its set_env.sh"
  [ -z "$found" ] || advice="run: source $found"
  echo "convert: CANN is not set up here: $advice" >&2
  exit 2
fi
root=$(cd "$(dirname "$0")" && pwd)
cd "$root/card"
source=$(cat SOURCE)
model=$(cat MODEL)
converter=$MINDSPORE_LITE_HOME/tools/converter/converter/converter_lite
rm -f "$model" "$model.json"
echo "convert: $source -> $model"
if [ -x "$converter" ]; then
  LD_LIBRARY_PATH="$MINDSPORE_LITE_HOME/tools/converter/lib:${LD_LIBRARY_PATH:-}" "$converter" --fmk=ONNX \
    --modelFile="$source" --outputFile="${model%.mindir}" --saveType=MINDIR --inputDataFormat=NCHW \
    --optimize=ascend_oriented --configFile=ascend.cfg
else
  "$root/build/glorext_convert" --fmk onnx --model "$source" --out "${model%.mindir}" --save mindir --input_format NCHW \
    --optimize ascend_oriented --config ascend.cfg --device Ascend
fi
[ -f "$model" ] || { echo "convert: the converter wrote no $model" >&2; exit 1; }
chmod 644 "$model"
sha256=$(sha256sum "$model" | cut -d ' ' -f 1)
size=$(wc -c <"$model" | tr -d ' ')
sed -e "s/@SHA256@/$sha256/" -e "s/\"@SIZE@\"/$size/" contract.json.in >"$model.json"
