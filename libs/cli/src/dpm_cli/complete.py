"""What the shell is offered for the word that is being typed; of what cannot be read, nothing."""

from collections.abc import Callable, Iterable

from dpm_cli.options import own_settings
from dpm_core.errors import DpmError


def _quietly(names: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """The names that go on as the word begins: a shell has no place for what goes wrong meanwhile."""

    def offered(incomplete: str) -> list[str]:
        try:
            return sorted(name for name in names() if name.startswith(incomplete))
        except (DpmError, OSError):
            return []

    return offered


@_quietly
def services() -> Iterable[str]:
    """The processes of a node here, as `dpm stop` takes them."""
    from dpm_cli.services import installed, processes_of
    from dpm_runtime.bus_address import SERVICE

    return processes_of({SERVICE, *installed()}, own_settings().replicas)


@_quietly
def private_indexes() -> Iterable[str]:
    """The indexes of dpm.toml that want a token."""
    from dpm_runtime.index_settings import PyPISettings

    return own_settings().of(PyPISettings).realms()


@_quietly
def realms() -> Iterable[str]:
    """What tokens can be for."""
    return own_settings().realms()


@_quietly
def registries() -> Iterable[str]:
    """The registries of dpm.toml, which tokens can be for."""
    from dpm_runtime.oci_settings import OciSettings

    return own_settings().of(OciSettings).registries


@_quietly
def index_paths() -> Iterable[str]:
    """Where the indexes are on the node."""
    from dpm_runtime.index_settings import PyPISettings

    return ["/simple/", *(f"/{name}/simple/" for name in own_settings().of(PyPISettings).indexes)]


@_quietly
def token_names() -> Iterable[str]:
    """Those to whom a key or a token was given."""
    from dpm_runtime.bus_readers import readers
    from dpm_runtime.tokens import tokens

    home = own_settings().folders
    return [*(each.name for each in readers(home)), *(each.name for each in tokens(home))]


@_quietly
def event_names() -> Iterable[str]:
    """The types of events."""
    import dpm_core.events  # noqa: F401 - which registers them
    from dpm_core.registry import event_types

    return [each.name for each in event_types()]


@_quietly
def ecosystems() -> Iterable[str]:
    """The ecosystems whose gateways are installed."""
    from dpm_cli.services import installed
    from dpm_runtime.bus_grants import GATEWAYS

    return [name.removeprefix(GATEWAYS) for name in installed() if name.startswith(GATEWAYS)]
