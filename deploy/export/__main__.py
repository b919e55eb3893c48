"""`python -m glorext.deploy.export`: the same as `glorext export`, under its published name."""

import sys

from glorext.runtime.cli import main

sys.exit(main(["export", *sys.argv[1:]], owns=True))
