"""`python -m labctl`."""

import sys

from labctl.app import main

sys.exit(main())
