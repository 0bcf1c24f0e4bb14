"""`python -m tal`."""

import sys

from tal.cli import main

sys.exit(main())
