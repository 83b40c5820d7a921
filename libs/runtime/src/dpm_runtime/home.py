"""The folders of a node's home. The layout below ``blobs`` and ``incoming`` is private to the store."""

import secrets
from dataclasses import dataclass
from pathlib import Path

from dpm_core.errors import Invalid
from dpm_runtime.disk import replace_file
from dpm_runtime.mounts import mounted_at

LAYOUT = 1
"""The version of the layout, written to ``VERSION``; a home with a newer one is refused."""


RESTORING = "restoring"
"""What ``VERSION`` says while a home is filled from a backup: half of one is nobody's home."""


def unknown_layout(root: Path, found: str) -> str:
    """What is said of a home that holds the layout ``found``, and what to do."""
    if found == RESTORING:
        return f"{root} is half restored: `dpm restore` broke off. Empty it, and restore again"
    return (
        f"{root} has layout {found!r}; this version of DPM knows {LAYOUT}. "
        "Use the newer DPM that made it; or restore a backup from before it into an empty home"
    )


@dataclass(frozen=True)
class Home:
    """Where everything of a node is.

    ``vault`` holds the keys and what nats-server keeps, where they lie apart from the home: containers share the
    home, and none may have the key of another.
    """

    root: Path
    vault: Path | None = None

    @property
    def config(self) -> Path:
        """The settings file."""
        return self.root / "dpm.toml"

    @property
    def version(self) -> Path:
        """The file that says which layout the home has."""
        return self.root / "VERSION"

    @property
    def keys(self) -> Path:
        """One nkey seed a service (0600)."""
        return (self.vault or self.root) / "keys"

    @property
    def nats(self) -> Path:
        """The configuration of nats-server, and its JetStream store."""
        return (self.vault or self.root) / "nats"

    @property
    def blobs(self) -> Path:
        """Verified bytes, by CID."""
        return self.root / "blobs"

    @property
    def incoming(self) -> Path:
        """Attempts, by artifact id and token."""
        return self.root / "incoming"

    @property
    def quarantine(self) -> Path:
        """Blobs that no longer hash to their name."""
        return self.root / "quarantine"

    @property
    def catalog(self) -> Path:
        """The folder of the catalog; readers need to write in it too (SQLite's shared memory)."""
        return self.root / "catalog"

    @property
    def facts(self) -> Path:
        """What indexes say of files; a cache, anyone may delete it."""
        return self.root / "facts"

    @property
    def run(self) -> Path:
        """Sockets, locks and what running services say of themselves."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        """One file a service."""
        return self.root / "logs"

    @property
    def mount(self) -> Path:
        """Where fusefs shows the store: below the home, never the home itself."""
        return self.root / "mnt"

    @property
    def tls(self) -> Path:
        """The node's own CA, and what it has certified; there if `dpm tls init` has made it."""
        return self.root / "tls"

    @property
    def certificate(self) -> Path:
        """What clients are shown: the key and the certificate of this node in one file (0600)."""
        return self.tls / "server.pem"

    @property
    def ca(self) -> Path:
        """What clients trust: the certificate of the node's own CA."""
        return self.tls / "ca.pem"

    @property
    def networks(self) -> Path:
        """A folder for each network that the node is in, with its secrets (0700)."""
        return (self.vault or self.root) / "networks"

    @property
    def network_names(self) -> list[str]:
        """The networks that the node is in."""
        return sorted(each.parent.name for each in self.networks.glob("*/network.json"))

    @property
    def homeserver(self) -> Path:
        """The node's own homeserver, with its secrets (0700); there if one was made."""
        return (self.vault or self.root) / "homeserver"

    @property
    def has_homeserver(self) -> bool:
        """Whether the node has a homeserver of its own."""
        return (self.homeserver / "homeserver.json").exists()

    @property
    def peers(self) -> Path:
        """What others say they have, one file a network; rebuildable."""
        return self.root / "peers"

    def kubo(self, network: str) -> Path:
        """The repository of a network's Kubo, which references only files below its parent; rebuildable."""
        return self.root / f"ipfs-{network}"

    def kubo_socket(self, network: str) -> Path:
        """Where that Kubo takes orders."""
        return self.run / f"ipfs-{network}.sock"

    def key(self, service: str) -> Path:
        """The nkey seed of a service."""
        return self.keys / f"{service}.nk"

    def socket(self, service: str, number: int = 0) -> Path:
        """Where a service answers for its health and metrics."""
        return self.run / f"{service}-{number}.sock"

    @property
    def commands(self) -> Path:
        """Where the fetcher that keeps the store takes an operator's commands."""
        return self.run / "fetcher.sock"

    def card(self, service: str, number: int = 0) -> Path:
        """What a running service says of itself: pid and addresses, as JSON."""
        return self.run / f"{service}-{number}.json"

    def prepare(self) -> None:
        """Make all folders that are not there.

        Raises Invalid if the home's layout is newer than this code, or if the home cannot be made.
        """
        try:
            self._prepare()
        except OSError as error:
            where = error.filename or self.root
            raise Invalid(f"home: {where} cannot be made or read: {error.strerror or error}") from error

    def _prepare(self) -> None:
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.version.exists():
            found = self.version.read_text().strip()
            if not found.isdigit() or int(found) > LAYOUT:
                raise Invalid(unknown_layout(self.root, found))
        self.make_folders()
        if not self.version.exists():
            self.write_version(f"{LAYOUT}")

    def make_folders(self) -> None:
        """Make all folders that are not there. Raises OSError."""
        for folder in (
            *(() if self.vault else (self.keys, self.nats)),
            self.blobs, self.incoming, self.quarantine, self.catalog, self.facts, self.run,
            self.run / "blobs", self.logs,
        ):  # fmt: skip
            folder.mkdir(mode=0o700, exist_ok=True)
        if not mounted_at(self.mount):  # to look at a mount is to wait for whoever serves it
            self.mount.mkdir(mode=0o700, exist_ok=True)

    def write_version(self, version: str) -> None:
        """Say what the home is. Raises OSError."""
        # several services may begin at once, and half a version would be refused for ever
        fresh = self.root / f".VERSION-{secrets.token_hex(8)}"
        replace_file(self.version, f"{version}\n".encode(), temporary=fresh, safe=True)
