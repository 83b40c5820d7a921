"""Which DPM this is."""

from importlib.metadata import PackageNotFoundError, version


def own_version() -> str:
    """The version of DPM."""
    try:
        return version("dpm-cli")
    except PackageNotFoundError:
        return "unknown"
