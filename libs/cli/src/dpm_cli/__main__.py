"""``python -m dpm_cli`` is ``dpm``."""

from dpm_cli.main import main

main()
