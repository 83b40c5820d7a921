"""Run the service: ``python -m dpm_gateway_oci``."""

import sys

from dpm_gateway_oci.main import main

sys.exit(main())
