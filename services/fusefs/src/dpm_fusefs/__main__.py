"""``python -m dpm_fusefs``."""

import sys

from dpm_fusefs.main import main

sys.exit(main())
