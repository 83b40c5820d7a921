"""A check of this machine's clients: who of them is pointed at the node."""

from urllib.parse import urlsplit

from dpm_cli.checks.model import Check, Finding, Level, Subject, info, ok
from dpm_core.artifacts import authority
from dpm_core.errors import Invalid
from dpm_runtime.cards import read_cards


async def clients_served(subject: Subject) -> Finding:
    """Whether clients are pointed at the node although none runs: they fail then. Never shows a URL."""
    pointed = []
    for name, ecosystem in subject.ecosystems().items():
        own = _own(subject, name)
        try:
            pointed += [where for where, url in ecosystem.pointed(subject.environ) if _authority(url) in own]
        except Invalid as error:
            return info(f"{name}: {error}")
    if not pointed:
        return info("no client of this user is pointed at the node")
    where = ", ".join(pointed)
    if subject.running:
        return ok(f"clients are pointed at the node by {where}")
    mend = "`dpm up`, or take the setting away meanwhile"
    return Finding(Level.INFO, f"clients are pointed at the node by {where}, and it does not run", mend)


def _own(subject: Subject, ecosystem: str) -> set[str]:
    """The authorities at which the gateway of an ecosystem is or would be reached."""
    settings = subject.settings
    hosts = [
        "localhost",
        *settings.allow_hosts,
        *(f"[{each}]" if ":" in each else each for each in settings.listen),
    ]
    port = settings.ecosystem(ecosystem).port
    own = {f"{host}:{port}".lower() for host in hosts} if port else set()
    for card in read_cards(subject.home):
        if card.service == f"gateway-{ecosystem}":
            for url in card.addresses.get("http", ()):
                own |= {_authority(url), f"localhost:{urlsplit(url).port}"}
    return own


def _authority(url: str) -> str:
    try:
        return authority(url)
    except (Invalid, ValueError):
        return ""


CHECKS = (
    Check(
        "DPM-CLIENTS",
        "Clients of this machine that are pointed at the node (information)",
        "`dpm up`, or take the setting away.",
        clients_served,
        settings=True,
    ),
)
