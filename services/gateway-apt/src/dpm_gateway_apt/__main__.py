"""Run the service: ``python -m dpm_gateway_apt``."""

import sys

from dpm_gateway_apt.main import main

sys.exit(main())
