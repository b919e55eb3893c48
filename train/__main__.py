"""`python -m glorext.train`: the same as `glorext train`."""

import sys

from glorext.runtime.cli import main

sys.exit(main(["train", *sys.argv[1:]], owns=True))
