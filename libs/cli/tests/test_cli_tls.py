"""``dpm tls``: a CA, a certificate for all that the node is called, and what is seen of it later."""

import datetime
import json
import ssl
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dpm_cli.certificates import certify, keep_valid, make_ca, names_of, read
from dpm_cli.checks.model import Finding, Level, Subject
from dpm_cli.checks.tls import certificate_shown
from dpm_cli.main import app
from dpm_cli.outcome import WrongState
from dpm_core.errors import Invalid
from dpm_runtime.settings import Settings, load

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
DAY = datetime.timedelta(days=1)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of a node with a name, two addresses and TLS."""
    monkeypatch.setenv("DPM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DPM_ALLOW_HOSTS", "Node.Example")
    monkeypatch.setenv("DPM_LISTEN", "0.0.0.0,10.1.2.3,2001:db8::3")
    monkeypatch.setenv("DPM_TLS", "true")
    return load()


def dpm_tls(*arguments: str) -> dict[str, list[str]]:
    result = CliRunner().invoke(app, ["tls", *arguments, "--json"], catch_exceptions=False)
    said: dict[str, list[str]] = json.loads(result.output)
    return said


def handshake(settings: Settings, name: str) -> None:
    """A client that trusts the node's CA alone meets the node by ``name``. Raises ssl.SSLError."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    server.load_cert_chain(settings.folders.certificate)
    client.load_verify_locations(settings.folders.ca)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = client.wrap_bio(back, there, server_hostname=name), server.wrap_bio(there, back, server_side=True)
    for end in (*ends, *ends):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue


def test_a_node_is_known_by_all_its_names_to_who_trusts_its_ca(node: Settings) -> None:
    said = dpm_tls("init")
    assert said["names"] == ["localhost", "127.0.0.1", "::1", "node.example", "10.1.2.3", "2001:db8::3"]
    for name in ("localhost", "127.0.0.1", "::1", "node.example", "10.1.2.3", "2001:db8::3"):
        handshake(node, name)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(node, "other.example")


def test_keys_are_for_their_user_alone(node: Settings) -> None:
    dpm_tls("init")
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in node.folders.tls.iterdir()}
    assert modes == {"ca.key": 0o600, "ca.pem": 0o600, "server.pem": 0o600}
    assert stat.S_IMODE(node.folders.tls.stat().st_mode) == 0o700


def test_a_ca_is_made_once_and_certifies_anew(node: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    dpm_tls("init")
    ca, first = node.folders.ca.read_bytes(), dpm_tls("show")
    again = CliRunner().invoke(app, ["tls", "init"])
    assert isinstance(again.exception, WrongState)
    monkeypatch.setenv("DPM_ALLOW_HOSTS", "other.example")
    second = dpm_tls("renew")
    assert "other.example" in second["names"]
    assert second["fingerprint"] != first["fingerprint"]
    assert node.folders.ca.read_bytes() == ca
    handshake(node, "other.example")


def test_without_a_ca_nothing_is_renewed_or_shown(node: Settings) -> None:
    assert isinstance(CliRunner().invoke(app, ["tls", "renew"]).exception, WrongState)
    assert isinstance(CliRunner().invoke(app, ["tls", "show"]).exception, Invalid)


def test_a_start_renews_what_will_soon_be_over_or_lacks_a_name(
    node: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = node.folders
    home.prepare()
    with pytest.raises(WrongState, match="dpm tls init"):
        keep_valid(node, NOW)
    make_ca(home, "here", NOW)
    made = certify(home, names_of(node), NOW)
    assert keep_valid(node, NOW) == ""
    assert keep_valid(node, made.until - 31 * DAY) == ""
    assert keep_valid(node, made.until - 29 * DAY) == "it had 29 days left"
    assert read(home.certificate).until > made.until
    monkeypatch.setenv("DPM_ALLOW_HOSTS", "other.example")
    assert keep_valid(load(), NOW) == "it lacked other.example"
    monkeypatch.setenv("DPM_TLS_CERT", "/elsewhere.pem")
    assert keep_valid(load(), NOW + 9999 * DAY) == ""


def test_a_certificate_is_not_valid_for_longer_than_its_ca(node: Settings) -> None:
    node.folders.prepare()
    ca = make_ca(node.folders, "here", NOW)
    assert certify(node.folders, ["localhost"], ca.until - DAY).until == ca.until


def test_a_name_that_no_certificate_can_have_is_refused(node: Settings) -> None:
    node.folders.prepare()
    make_ca(node.folders, "here", NOW)
    with pytest.raises(Invalid, match="allow_hosts"):
        certify(node.folders, ["nöde.example"], NOW)


async def look(settings: Settings) -> Finding:
    return await certificate_shown(Subject(settings.folders, settings))


async def test_doctor_says_how_long_the_certificate_lasts_and_whom_it_names(
    node: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = node.folders
    home.prepare()
    missing = await look(node)
    assert (missing.level, missing.mend) == (Level.FAILED, "`dpm tls init`")
    make_ca(home, "here", NOW - 500 * DAY)
    certify(home, names_of(node), NOW)
    assert (await look(node)).level == Level.OK
    certify(home, names_of(node), NOW - 380 * DAY)
    soon = await look(node)
    assert soon.level == Level.WARNING
    assert soon.text.startswith("the certificate is valid for 1")
    certify(home, names_of(node), NOW - 400 * DAY)
    over = await look(node)
    assert (over.level, over.mend) == (Level.FAILED, "`dpm tls renew`")
    certify(home, ["localhost"], NOW)
    unnamed = await look(node)
    assert unnamed.level == Level.WARNING
    assert "does not have 127.0.0.1, ::1, Node.Example, 10.1.2.3" in unnamed.text
    certify(home, names_of(node), NOW)
    home.certificate.chmod(0o640)
    assert "others may read the key" in (await look(node)).text
    monkeypatch.setenv("DPM_TLS", "false")
    monkeypatch.setenv("DPM_LISTEN", "127.0.0.1")
    assert (await look(load())).level == Level.INFO
