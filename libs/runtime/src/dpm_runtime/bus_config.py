"""The configuration of nats-server: who is in which account, and what passes between accounts.

The stream's account holds set-up and the fetchers; everybody else has an account of its own, into which it
imports what its grant names. Permissions alone are not enough: they are checked for the subject of a message and
not for its reply, so that a gateway could ask for one of its own events with ``…artifact-stored`` as the reply,
and the server would append its answer there. Between accounts the server makes the reply its own.

In an account outside the stream's, ``dpm.evt`` carries what the stream tells of on ``dpm.new``: there a plain
subscription shows what was stored, and not what was only tried.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dpm_core.subjects import EVENTS, HINTS
from dpm_runtime.bus_grants import (
    JETSTREAM,
    READ,
    READER,
    STREAM_ACCOUNT,
    SYSTEM_ACCOUNT,
    TAPS,
    Grant,
    reader,
)

NO_LIMIT = 2**40
"""Bytes. Without it nats-server takes three quarters of what is free at its start for the most that it may store:
one that is started while the disk is full would refuse every append, also when there is room again."""


def render(
    port: int,
    store: Path,
    keys: Mapping[str, str],
    table: Iterable[Grant],
    *,
    listen: str = "127.0.0.1",
    readers: Mapping[str, str] | None = None,
) -> str:
    """The configuration as JSON, which nats-server reads as its own format.

    ``keys`` are the services' public keys, ``readers`` those of whoever else may read events, both by name. It
    listens on the address ``listen`` and nowhere else.
    """
    rights = tuple(table)
    accounts: dict[str, dict[str, Any]] = {
        account: {
            "users": [_user(grant, keys[grant.service]) for grant in rights if grant.account == account],
            "exports": [],
            "imports": [],
        }
        for account in dict.fromkeys(grant.account for grant in rights)
    }
    for account, settings in accounts.items():
        settings["exports"] = _exports(account, (*rights, reader("anybody")))
        settings["imports"] = _imports(account, rights)
    accounts[STREAM_ACCOUNT]["jetstream"] = "enabled"
    accounts[SYSTEM_ACCOUNT]["exports"].append({"service": JETSTREAM, "accounts": [STREAM_ACCOUNT]})
    accounts[STREAM_ACCOUNT]["imports"].append({"service": {"account": SYSTEM_ACCOUNT, "subject": JETSTREAM}})
    configuration = {
        "listen": f"{listen}:{port}",
        "server_name": "dpm",
        # Without it an acknowledged event can be lost when the power fails.
        "jetstream": {"store_dir": str(store), "sync_interval": "always", "max_file_store": NO_LIMIT},
        "accounts": accounts,
        "system_account": SYSTEM_ACCOUNT,
    }
    return with_readers(configuration, readers or {})


def with_readers(configuration: Mapping[str, Any], keys: Mapping[str, str]) -> str:
    """A configuration of :func:`render`, with these readers (public keys by name) in place of those that it has.

    Each has an account of its own, so that none can speak to another, or hear its answers.
    """
    services = {name: each for name, each in configuration["accounts"].items() if not name.startswith(READER)}
    outside = {
        grant.account: {"users": [_user(grant, key)], "imports": _imports(grant.account, (grant,))}
        for grant, key in ((reader(name), key) for name, key in keys.items())
    }
    return json.dumps({**configuration, "accounts": services | outside}, indent=2) + "\n"


def _user(grant: Grant, key: str) -> dict[str, Any]:
    return {
        "nkey": key,
        "permissions": {
            "publish": {"allow": list(grant.publish)},
            "subscribe": {"allow": [grant.inbox, *grant.subscribe]},
        },
    }


def _exports(account: str, table: tuple[Grant, ...]) -> list[dict[str, Any]]:
    """Taps of its own services; from the stream's account also what others ask it, and its hints."""
    taps = {subject for grant in table if grant.account == account for subject in _taps(grant)}
    exports: list[dict[str, Any]] = [{"stream": subject} for subject in sorted(taps)]
    if account == STREAM_ACCOUNT:
        outside = [grant for grant in table if grant.account not in (STREAM_ACCOUNT, SYSTEM_ACCOUNT)]
        for subject in sorted({subject for grant in outside for subject in _questions(grant)}):
            # A direct get of many events has many answers.
            exports.append({"service": subject, "response_type": "stream" if subject == READ else "singleton"})
        for subject in sorted({_told(subject) for grant in outside for subject in _heard(grant)}):
            exports.append({"stream": subject})
    return exports


def _imports(account: str, table: tuple[Grant, ...]) -> list[dict[str, Any]]:
    """What the account's services may ask of the stream's, its hints, and the taps that they listen to."""
    mine = [grant for grant in table if grant.account == account]
    imports: list[dict[str, Any]] = []
    if account not in (STREAM_ACCOUNT, SYSTEM_ACCOUNT):
        for grant in mine:
            for subject in _questions(grant):
                imports.append({"service": {"account": STREAM_ACCOUNT, "subject": subject}})
            for subject in _heard(grant):
                imports.append({"stream": {"account": STREAM_ACCOUNT, "subject": _told(subject)}, "to": subject})
    taps = {(grant.account, tap) for grant in table if grant.account != account for tap in _taps(grant)}
    for teller, tap in sorted(taps):
        if any(_covers(pattern, tap) for grant in mine for pattern in grant.subscribe):
            imports.append({"stream": {"account": teller, "subject": tap}})
    return imports


def _taps(grant: Grant) -> list[str]:
    return [subject for subject in grant.publish if subject.startswith(TAPS)]


def _questions(grant: Grant) -> list[str]:
    return [subject for subject in grant.publish if not subject.startswith(TAPS)]


def _heard(grant: Grant) -> list[str]:
    return [subject for subject in grant.subscribe if not subject.startswith(TAPS)]


def _told(subject: str) -> str:
    """On what the stream tells of the events that are heard on ``subject`` outside its account."""
    return HINTS + subject.removeprefix(EVENTS) if subject.startswith(EVENTS) else subject


def _covers(pattern: str, subject: str) -> bool:
    return pattern == subject or (pattern.endswith(">") and subject.startswith(pattern[:-1]))
