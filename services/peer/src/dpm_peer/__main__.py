"""Run the service: ``python -m dpm_peer``."""

import sys

from dpm_peer.main import main

sys.exit(main())
