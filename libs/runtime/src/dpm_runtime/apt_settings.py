"""What can be set of apt, as ``dpm.toml`` names it: ``apt_…``."""

from dpm_runtime.ecosystem_settings import EcosystemSettings, Port


class AptSettings(EcosystemSettings):
    """Debian packages."""

    port: Port = 3142
