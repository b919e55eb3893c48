"""`python -m glorext.train`: the same as `glorext train`."""
import sys

from glorext.runtime.errors import GlorextError
from glorext.runtime.log import log_to_stderr

from .command import main

log_to_stderr()
try:
    sys.exit(main(sys.argv[1:]))
except GlorextError as error:
    print(f"{type(error).__name__}: {error}", file=sys.stderr)
    sys.exit(error.exit_status)
