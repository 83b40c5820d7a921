"""How Kubo is configured: one document, written before each start, that leaves it nothing but its private swarm.

Names and meanings: https://github.com/ipfs/kubo/blob/v0.43.0/docs/config.md. What is named here is what Kubo does
otherwise by default, or must never do by a later default.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROFILES = "flatfs,unixfs-v1-2025,autoconf-off,announce-off"
"""What a repository is made with, so that its layout on disk is what the configuration says of it."""

ANY_ADDRESS = ("/ip4/0.0.0.0/tcp/0", "/ip6/::/tcp/0")
"""Multiaddresses: all addresses of the machine, on ports that are free."""


@dataclass(frozen=True)
class KuboSettings:
    """What differs from one repository to another.

    ``api`` is the unix socket of the RPC and ``token`` what it must be shown. ``listen`` are the multiaddresses
    that members connect to (TCP only); ``announce`` those that are told instead of them, if any.
    """

    api: Path
    token: str
    listen: tuple[str, ...] = ANY_ADDRESS
    announce: tuple[str, ...] = ()


def configuration(identity: Mapping[str, str], settings: KuboSettings) -> dict[str, Any]:
    """The repository's ``config``; ``identity`` is the section of that name: PeerID and PrivKey."""
    return {
        "Identity": dict(identity),
        "Addresses": {
            "API": f"/unix{settings.api}",
            "Announce": list(settings.announce),
            "AppendAnnounce": [],
            "Gateway": [],
            "NoAnnounce": [],
            "Swarm": list(settings.listen),
        },
        "API": {
            "Authorizations": {
                "dpm": {"AuthSecret": f"bearer:{settings.token}", "AllowedPaths": ["/api/v0"]},
            },
        },
        **deepcopy(_STORAGE),
        **deepcopy(_ALONE),
    }


_STORAGE: dict[str, Any] = {
    "Datastore": {
        "Spec": {
            "type": "mount",
            "mounts": [
                {
                    "mountpoint": "/blocks",
                    "path": "blocks",
                    "prefix": "flatfs.datastore",
                    "shardFunc": "/repo/flatfs/shard/v1/next-to-last/2",
                    "sync": False,
                    "type": "flatfs",
                },
                {
                    "compression": "none",
                    "mountpoint": "/",
                    "path": "datastore",
                    "prefix": "leveldb.datastore",
                    "type": "levelds",
                },
            ],
        },
    },
    "Experimental": {"FilestoreEnabled": True, "Libp2pStreamMounting": True},
    "Import": {
        "CidVersion": 1,
        "HashFunction": "sha2-256",
        "UnixFSChunker": "size-1048576",
        "UnixFSDAGLayout": "balanced",
        "UnixFSFileMaxLinks": 1024,
        "UnixFSRawLeaves": True,
    },
    # a block of up to so many bytes is sent at once, not offered first: a small file is there in half the time
    "Internal": {"Bitswap": {"WantHaveReplaceSize": 65536, "BroadcastControl": {"Enable": False}}},
}
"""Files are referenced where they lie; the CIDs are those that DPM computes (profile unixfs-v1-2025). A large one
may be given by a stream (:mod:`dpm_peer.stream_giving`)."""

_ALONE: dict[str, Any] = {
    "AutoConf": {"Enabled": False},
    "AutoNAT": {"ServiceMode": "disabled"},
    "AutoTLS": {"Enabled": False, "AutoWSS": False},
    "Bootstrap": [],
    "DNS": {"Resolvers": {}},
    "Discovery": {"MDNS": {"Enabled": False}},
    "Gateway": {"NoDNSLink": True, "NoFetch": True},
    "HTTPRetrieval": {"Enabled": False},
    "Ipns": {"UsePubsub": False},
    "Peering": {"Peers": []},
    "Plugins": {"Plugins": {"telemetry": {"Disabled": True}}},
    "Provide": {"Enabled": False},
    "Pubsub": {"Enabled": False},
    "Routing": {"Type": "none"},
    "Swarm": {
        # who is no longer to be connected is cut by us; a connection that idles is kept
        "ConnMgr": {"Type": "none"},
        "DisableNatPortMap": True,
        "EnableHolePunching": False,
        "RelayClient": {"Enabled": False},
        "RelayService": {"Enabled": False},
        "Transports": {
            "Network": {
                "QUIC": False,
                "Relay": False,
                "TCP": True,
                "WebRTCDirect": False,
                "WebTransport": False,
                "Websocket": False,
            },
        },
    },
    "Version": {"SwarmCheckEnabled": False},
}
"""No network but the swarm of those with the key: nothing is looked up, announced, relayed, mapped or measured."""
