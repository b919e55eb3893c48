"""`python -m glorext`: the same as the command `glorext`."""

import sys

from glorext.runtime.cli import main

sys.exit(main())
