"""Run the service: ``python -m dpm_gateway_pypi``."""

import sys

from dpm_gateway_pypi.main import main

sys.exit(main())
