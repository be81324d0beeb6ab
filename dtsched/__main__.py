"""`python -m dtsched` is `dtsched`."""

import sys

from dtsched.cli import main

sys.exit(main())
