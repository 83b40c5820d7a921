"""Run the service: ``python -m dpm_fetcher``."""

import sys

from dpm_fetcher.main import main

sys.exit(main())
