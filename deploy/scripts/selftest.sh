#!/bin/sh
# Builds glorext_infer here, runs the golden inputs and says PASS or FAIL for each. No Python, no network, no data set.
# usage: MINDSPORE_LITE_HOME=FOLDER ./selftest.sh [DEVICE [DEVICE_ID]]
#   DEVICE: cpu (default), or a card that LIMITS names
#   MINDSPORE_LITE_HOME: MindSpore Lite's SDK, or the folder mindspore_lite of its unpacked wheel
set -eu
usage() { sed -n 's/^# usage: //p' "$0" >&2; exit 2; }
[ $# -le 2 ] || usage
device=${1:-cpu}
device_id=${2:-0}
# LIMITS has a line for each device: its name, and how far outputs may be off as a share of the largest expected one.
tolerance=
while read -r name limit; do if [ "$name" = "$device" ]; then tolerance=$limit; fi; done <"$(dirname "$0")/LIMITS"
[ -n "$tolerance" ] || usage
if [ -z "${MINDSPORE_LITE_HOME:-}" ] || [ ! -d "$MINDSPORE_LITE_HOME" ]; then
  echo "selftest: set MINDSPORE_LITE_HOME to MindSpore Lite's SDK or the unpacked wheel's folder mindspore_lite" >&2
  exit 2
fi
# The packages for the device side (phones) have a runtime of the same name.
drives_cards() {
  for plugin in "$MINDSPORE_LITE_HOME"/lib/libascend_kernel_plugin*.so \
    "$MINDSPORE_LITE_HOME"/runtime/lib/libascend_kernel_plugin*.so; do
    [ ! -f "$plugin" ] || return 0
  done
  return 1
}
if [ "$device" != cpu ] && ! drives_cards; then
  echo "selftest: $MINDSPORE_LITE_HOME has no libascend_kernel_plugin.so and drives no card:" \
    "take MindSpore Lite's cloud-side inference package for Ascend" >&2
  exit 2
fi
# Hosts of Ascend cards mostly run openEuler or Kylin.
install="apt-get install g++ cmake make libjpeg-dev libpng-dev"
if command -v dnf >/dev/null && ! command -v apt-get >/dev/null; then
  install="dnf install gcc-c++ cmake make libjpeg-turbo-devel libpng-devel"
fi
for program in cmake g++; do
  command -v $program >/dev/null || { echo "selftest: $program is missing: $install" >&2; exit 1; }
done
cd "$(dirname "$0")"
echo "selftest: building"
{ cmake -S cpp -B build -DMINDSPORE_LITE_ROOT="$MINDSPORE_LITE_HOME" &&
  cmake --build build --parallel "$(nproc)"; } >build.log 2>&1 ||
  { tail -n 20 build.log >&2; echo "selftest: the build failed; see build.log. It needs: $install" >&2; exit 1; }
rm -rf selftest_out
model=$(cat MODEL)
input=golden_input.npy
sizes=
# A bundle for a card brings a model for the card's compiler; it is converted here the first time.
if [ "$device" != cpu ] && [ -f card/TARGET ]; then
  [ "$device" = "$(cat card/TARGET)" ] || { echo "selftest: this bundle is for $(cat card/TARGET), not $device" >&2; exit 2; }
  [ -f "card/$(cat card/MODEL).json" ] || ./convert.sh
  model=card/$(cat card/MODEL)
  input=card/golden_input.npy
  sizes=$(cat card/BATCHES)
fi
set -- --found selftest_out/logits.npy --expected golden_output.npy --tolerance "$tolerance"
# Of logits the share counts against at least 1, of probabilities against the largest however small it is.
[ "$(cat OUTPUT)" != probabilities ] || set -- "$@" --probabilities
# Each batch size that the model was prepared for computes for itself; without such sizes the model chooses.
for size in ${sizes:-own}; do
  echo "selftest: $model on $device$([ "$size" = own ] || echo ", batch $size")"
  batch=$([ "$size" = own ] || echo "--batch $size")
  # shellcheck disable=SC2086 # two words or none
  ./build/glorext_infer --model "$model" --tensor "$input" --device "$device" --device_id "$device_id" $batch \
    --out selftest_out
  ran_on=$(sed -n 's/.*"device": *"\([^"]*\)".*/\1/p' selftest_out/results.json)
  [ "$ran_on" = "$device" ] || echo "selftest: it ran on $ran_on"
  ./build/glorext_compare "$@"
done
