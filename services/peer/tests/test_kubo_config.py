import json
from pathlib import Path

from dpm_peer.kubo_config import KuboSettings, configuration

IDENTITY = {"PeerID": "12D3KooWexample", "PrivKey": "a key"}
SETTINGS = KuboSettings(Path("/home/run/ipfs-team.sock"), "a token", ("/ip4/127.0.0.1/tcp/0",))


def test_the_rpc_is_a_unix_socket_that_wants_a_token() -> None:
    document = configuration(IDENTITY, SETTINGS)
    assert document["Addresses"]["API"] == "/unix/home/run/ipfs-team.sock"
    assert document["API"]["Authorizations"]["dpm"]["AuthSecret"] == "bearer:a token"
    assert document["Addresses"]["Gateway"] == []


def test_nothing_leads_out_of_the_swarm() -> None:
    document = configuration(IDENTITY, SETTINGS)
    assert document["Bootstrap"] == []
    assert document["Routing"]["Type"] == "none"
    on = {name for name, value in document["Swarm"]["Transports"]["Network"].items() if value}
    assert on == {"TCP"}
    for section in ("AutoConf", "AutoTLS", "HTTPRetrieval", "Provide", "Pubsub"):
        assert document[section]["Enabled"] is False


def test_two_repositories_share_no_part_of_a_document() -> None:
    first = configuration(IDENTITY, SETTINGS)
    first["Swarm"]["Transports"]["Network"]["QUIC"] = True
    assert configuration(IDENTITY, SETTINGS)["Swarm"]["Transports"]["Network"]["QUIC"] is False


def test_it_is_json_as_kubo_reads_it() -> None:
    document = configuration(IDENTITY, SETTINGS)
    assert json.loads(json.dumps(document)) == document
    assert document["Identity"] == IDENTITY
