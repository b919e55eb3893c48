# Sourced by the scripts in the folders beside it: sets the variables named in $arguments from the script's arguments,
# in that order ([NAME] is optional), and leaves the rest, which must be flags of $command, in "$@".
set -eu
usage() {
  echo "usage: sh ${0##*/} $arguments [flags of $command]" >&2
  exit 2
}
for name in $arguments; do
  case $name in
    \[*\])
      name=${name#\[} name=${name%\]}
      case ${1:---} in --*) eval "$name=" && continue ;; esac
      ;;
  esac
  case $name=${1:-} in
    "$name=" | "$name=-"* | DEVICE_ID=*[!0-9]* | DEVICE_NUM=*[!0-9]* | DEVICE_IDS=*[!][0-9,\)-]*) usage ;;
    PLATFORM=Ascend | PLATFORM=GPU | PLATFORM=CPU) ;;
    PLATFORM=*) usage ;;
  esac
  eval "$name=\$1"
  shift
done
case ${1:---} in --*) ;; *) usage ;; esac
PYTHON=${PYTHON:-python3}
