"""The configuration of a node's own Synapse, as one document. Pure.

It names what Synapse would do otherwise, so that a newer default changes nothing: accounts are made with a token
only, nobody else's homeserver is spoken to, nothing is previewed, published or reported. Options:
https://element-hq.github.io/synapse/latest/usage/configuration/config_documentation.html
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class SynapseSecrets:
    """What a homeserver must not lose, and shows to nobody.

    ``name`` is the part behind ``:`` of its accounts' ids, ``password`` that of its administrator.
    """

    name: str
    signing_key: str = field(repr=False)
    registration: str = field(repr=False)
    macaroon: str = field(repr=False)
    form: str = field(repr=False)
    password: str = field(repr=False)


@dataclass(frozen=True)
class SynapseSettings:
    """On 127.0.0.1 it listens in any case, without TLS; ``url`` is that of this listener.

    ``listen`` are other addresses of it; ``tls`` are the files (PEM) of the certificate and the key that are shown
    there, None for none. ``public`` is what others call it.
    """

    listen: Sequence[str]
    port: int
    public: str
    tls: tuple[Path, Path] | None = None

    @property
    def url(self) -> str:
        """What this node calls it, whatever others do."""
        return f"http://{LOOPBACK}:{self.port}/"


def configuration(folder: Path, secrets: SynapseSecrets, settings: SynapseSettings) -> dict[str, Any]:
    """The document ``homeserver.yaml``, of which JSON is a part; all that it writes lies in ``folder``."""
    tls: dict[str, str] = {}
    if settings.tls is not None:
        cert, key = settings.tls
        tls = {"tls_certificate_path": str(cert), "tls_private_key_path": str(key)}
    return {
        "server_name": secrets.name,
        "public_baseurl": settings.public,
        "pid_file": str(folder / "synapse.pid"),
        "listeners": _listeners(settings),
        **tls,
        "database": {"name": "sqlite3", "args": {"database": str(folder / "homeserver.db")}},
        "log_config": str(folder / "log.yaml"),
        "signing_key": secrets.signing_key,
        "macaroon_secret_key": secrets.macaroon,
        "form_secret": secrets.form,
        "registration_shared_secret": secrets.registration,
        "enable_registration": True,
        "registration_requires_token": True,
        "allow_guest_access": False,
        "report_stats": False,
        "trusted_key_servers": [],
        "federation_domain_whitelist": [],
        "allow_public_rooms_over_federation": False,
        "allow_public_rooms_without_auth": False,
        "enable_room_list_search": False,
        "user_directory": {"enabled": False},
        "require_auth_for_profile_requests": True,
        "presence": {"enabled": False},
        "enable_media_repo": False,
        "media_store_path": str(folder / "media"),
        "url_preview_enabled": False,
        "encryption_enabled_by_default_for_room_type": "off",
        # a team comes in through one address, within minutes; a password has 32 random bytes
        "rc_login": {"address": {"per_second": 0.5, "burst_count": 20}},
        "rc_registration": {"per_second": 0.5, "burst_count": 20},
        # as often as a node speaks: see dpm_peer.pacing
        "rc_message": {"per_second": 2, "burst_count": 20},
    }


def _listeners(settings: SynapseSettings) -> list[dict[str, Any]]:
    near, far = [LOOPBACK], [each for each in settings.listen if each != LOOPBACK]
    if settings.tls is None:
        near, far = (far if _everywhere(far) else near + far), []
    return [
        {
            "port": settings.port,
            "bind_addresses": addresses,
            "type": "http",
            "tls": tls,
            "resources": [{"names": ["client"]}],
        }
        for addresses, tls in ((near, False), (far, True))
        if addresses
    ]


def _everywhere(addresses: Sequence[str]) -> bool:
    """Whether 127.0.0.1 is among them already."""
    return "0.0.0.0" in addresses  # noqa: S104 - it is compared


def logging_configuration() -> dict[str, Any]:
    """The document ``log.yaml``: what is odd, on stderr. Synapse redacts access tokens in it."""
    return {
        "version": 1,
        "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
        "root": {"level": "WARNING", "handlers": ["console"]},
        "disable_existing_loggers": False,
    }
