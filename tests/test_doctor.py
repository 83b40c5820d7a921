"""``dpm doctor`` on real parts: each is broken as it breaks in life, and told by its code."""

import asyncio
import json
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from dpm_cli.checks.model import Finding, Level, Subject
from dpm_cli.doctor import checks, examine
from dpm_cli.lock import NodeLock
from dpm_core.subjects import STREAM
from dpm_runtime.bus import STREAM_CONFIG
from dpm_runtime.bus_address import announce_bus
from dpm_runtime.home import Home
from dpm_runtime.nkey_files import make_seeds
from dpm_runtime.settings import Settings
from dpm_testkit.fusefs import FuseFs
from dpm_testkit.nats_server import NatsServer, running_nats
from dpm_testkit.node import Node, running_node
from dpm_testkit.package_server import File, PackageServer
from dpm_testkit.patience import eventually
from dpm_testkit.programs import without

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]

NOBODY_ASKED = "http://127.0.0.1:9/"


class Doctor:
    """The command on one home; ``told`` are its findings by code."""

    def __init__(self, root: Path, *, before: Sequence[str] = (), **environ: str) -> None:
        alone = {"DPM_PYPI_PORT": "0", "DPM_NATS_PORT": "0", "DPM_REPLICAS": "gateway-apt=0,gateway-oci=0"}
        settings = {**alone, "DPM_PYPI_UPSTREAM": NOBODY_ASKED, **environ}
        ended = subprocess.run(
            [*before, sys.executable, "-m", "dpm_cli", "doctor", "--json"],
            env=without("DPM_", **{"DPM_HOME": str(root), **settings}),
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert ended.stdout, ended.stderr
        self.status = ended.returncode
        self.told: dict[str, dict[str, Any]] = {
            each["code"]: each for each in json.loads(ended.stdout)["findings"]
        }

    def level(self, code: str) -> str:
        return str(self.told[code]["level"])

    def text(self, code: str) -> str:
        return str(self.told[code]["text"])

    def mend(self, code: str) -> str:
        return str(self.told[code]["mend"])


def after(script: str) -> Sequence[str]:
    """Run ``script`` before the command, in a mount namespace of its own."""
    return ("unshare", "--mount", "sh", "-ec", f'{script}\nexec "$@"', "sh")


async def _of(node: Node, **environ: str) -> Doctor:
    """The command with a node's own settings, while this loop goes on serving."""
    return await asyncio.to_thread(lambda: Doctor(node.home.root, **{**node.settings, **environ}))


async def _off_loop(root: Path, upstream: str, **environ: str) -> Doctor:
    return await asyncio.to_thread(lambda: Doctor(root, DPM_PYPI_UPSTREAM=upstream, **environ))


@asynccontextmanager
async def _answering(context: ssl.SSLContext) -> AsyncIterator[int]:
    """A server that answers every request with 200, over TLS; its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readline():
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        writer.close()

    listening = await asyncio.start_server(serve, "localhost", 0, family=socket.AF_INET, ssl=context)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()


def _which(program: str) -> str:
    found = shutil.which(program)
    assert found, f"{program} is needed"
    return found


async def look(code: str, home: Home) -> Finding:
    machine = Subject(home, Settings.model_validate({"home": home.root}))
    report = await examine([check for check in checks() if check.code == code], machine)
    return report.answers[0].finding


async def test_a_disk_that_is_full_is_told(home: Home) -> None:
    small = Doctor(home.root, before=after(f"mount -t tmpfs -o size=64m tmpfs {home.root}"))
    assert small.level("DPM-DISK") == Level.FAILED
    assert "64.0 MiB are free" in small.text("DPM-DISK")
    assert small.status == 1
    fair = Doctor(home.root, before=after(f"mount -t tmpfs -o size=2g tmpfs {home.root}"))
    assert fair.level("DPM-DISK") == Level.WARNING
    crowded = Doctor(home.root, before=after(f"mount -t tmpfs -o size=8g,nr_inodes=500 tmpfs {home.root}"))
    assert crowded.level("DPM-DISK") == Level.FAILED
    assert "more files fit" in crowded.text("DPM-DISK")


async def test_a_home_on_a_disk_that_is_read_only_is_told(home: Home) -> None:
    doctor = Doctor(
        home.root, before=after(f"mount --bind {home.root} {home.root}; mount -o remount,bind,ro {home.root}")
    )
    assert doctor.level("DPM-HOME") == Level.FAILED
    assert "Read-only file system" in doctor.text("DPM-HOME")


async def test_somebody_elses_mount_in_the_home_is_told(home: Home) -> None:
    doctor = Doctor(home.root, before=after(f"mount -t tmpfs tmpfs {home.mount}"))
    assert doctor.level("DPM-MOUNT") == Level.FAILED
    assert "tmpfs is mounted" in doctor.text("DPM-MOUNT")
    assert doctor.mend("DPM-MOUNT") == f"umount {home.mount}"


async def test_a_mount_whose_process_was_killed_is_told(home: Home, fuse: FuseFs) -> None:
    with NodeLock(home):
        assert (await look("DPM-MOUNT", home)).level == Level.OK
    fuse.kill()
    doctor = Doctor(home.root)
    assert doctor.level("DPM-MOUNT") == Level.FAILED
    assert "Transport endpoint is not connected" in doctor.text("DPM-MOUNT")
    assert "dpm down" in doctor.mend("DPM-MOUNT")
    assert doctor.level("DPM-HOME") == Level.OK


async def test_a_mount_whose_process_is_stopped_does_not_hang_the_doctor(home: Home, fuse: FuseFs) -> None:
    fuse.signal(signal.SIGSTOP)
    began = time.monotonic()
    doctor = Doctor(home.root)
    took = time.monotonic() - began
    fuse.signal(signal.SIGCONT)
    assert doctor.level("DPM-MOUNT") == Level.FAILED
    assert "does not answer within 2 s" in doctor.text("DPM-MOUNT")
    assert took < 30


@pytest.mark.parametrize(
    ("script", "kind", "level"),
    [
        ("mount --bind {0} {0}", "private", Level.WARNING),
        ("mount --bind {0} {0}; mount --make-shared {0}", "shared", Level.OK),
        ("mount --bind {0} {0}; mount --make-shared {0}; mount --make-slave {0}", "private", Level.WARNING),
    ],
)
async def test_a_container_whose_home_is_not_shared_is_told(
    script: str, kind: str, level: Level, home: Home
) -> None:
    doctor = Doctor(home.root, before=after(script.format(home.root)), container="test")
    assert doctor.level("DPM-PROPAGATION") == level
    assert f"{home.root}, which the home is on, is {kind}" in doctor.text("DPM-PROPAGATION")


async def test_a_container_that_receives_mounts_is_in_order(home: Home) -> None:
    # The one that mounts stays: with its namespace the mount that ours receives from would go.
    mount = f"mount --bind {home.root} {home.root}; mount --make-shared {home.root}"
    receive = 'unshare --mount --propagation slave "$@"; exit $?'
    before = ("unshare", "--mount", "sh", "-ec", f"{mount}; {receive}", "sh")
    doctor = Doctor(home.root, before=before, container="test")
    assert doctor.level("DPM-PROPAGATION") == Level.OK
    assert "is slave" in doctor.text("DPM-PROPAGATION")


async def test_a_user_who_may_not_open_the_fuse_device_is_told(home: Home) -> None:
    # A device of its own, since machines differ in who may open theirs; reading everything else stays allowed.
    make = f"mount -t tmpfs -o dev tmpfs {home.facts}; mknod -m 600 {home.facts}/fuse c 10 229"
    make += f"; mount --bind {home.facts}/fuse /dev/fuse; export PATH=/nowhere; exec {_which('setpriv')} "
    make += '--reuid 65534 --clear-groups --inh-caps +dac_read_search --ambient-caps +dac_read_search "$@"'
    doctor = Doctor(home.root, before=after(make))
    assert doctor.level("DPM-FUSE-DEVICE") == Level.FAILED
    assert "Permission denied" in doctor.text("DPM-FUSE-DEVICE")
    assert doctor.text("DPM-FUSERMOUNT") == "there is no fusermount3 on PATH"
    assert doctor.level("DPM-HOME") == Level.FAILED


async def test_a_machine_without_inotify_instances_is_told(home: Home) -> None:
    none_left = "echo 0 >/proc/sys/user/max_inotify_instances"
    before = ("unshare", "--user", "--map-root-user", "sh", "-ec", f'{none_left}\nexec "$@"', "sh")
    doctor = Doctor(home.root, before=before)
    assert doctor.level("DPM-INOTIFY") == Level.WARNING
    assert "no inotify instance" in doctor.text("DPM-INOTIFY")


async def test_a_low_limit_of_open_files_is_told(home: Home) -> None:
    doctor = Doctor(home.root, before=("prlimit", "--nofile=128:128"))
    assert doctor.level("DPM-OPEN-FILES") == Level.FAILED


@pytest.fixture
async def nats(home: Home) -> AsyncIterator[NatsServer]:
    """A bus whose home seems to have a node."""
    async with running_nats(home.root) as server:
        announce_bus(home, server.url)
        with NodeLock(home):
            yield server


async def test_a_bus_in_order_is_ok(home: Home, nats: NatsServer) -> None:
    assert (await look("DPM-BUS", home)).level == Level.OK
    assert (await look("DPM-STREAM", home)).level == Level.OK


async def test_a_bus_that_is_gone_is_told(home: Home, nats: NatsServer) -> None:
    await nats.stop()
    finding = await look("DPM-BUS", home)
    assert finding.level == Level.FAILED
    assert nats.url in finding.text
    assert (await look("DPM-STREAM", home)).level == Level.SKIPPED


async def test_a_key_that_the_bus_does_not_know_is_told(home: Home, nats: NatsServer) -> None:
    home.key("operator").unlink()
    make_seeds(home, ["operator"])
    finding = await look("DPM-BUS", home)
    assert finding.level == Level.FAILED
    assert "uthorization" in finding.text


async def test_a_stream_that_somebody_changed_is_told(home: Home, nats: NatsServer) -> None:
    async with nats.link("anything") as link:
        await link.api(f"STREAM.UPDATE.{STREAM}", {**STREAM_CONFIG, "max_msgs": 10})
    finding = await look("DPM-STREAM", home)
    assert finding == Finding(Level.FAILED, "stream DPM has max_msgs 10 instead of -1")


async def test_a_durable_or_a_stream_that_is_gone_is_told(home: Home, nats: NatsServer) -> None:
    async with nats.link("anything") as link:
        await link.api(f"CONSUMER.DELETE.{STREAM}.fetcher", {})
        finding = await look("DPM-STREAM", home)
        assert finding.level == Level.FAILED
        assert "durable fetcher" in finding.text
        assert "stream DPM" not in finding.text
        await link.api(f"STREAM.DELETE.{STREAM}", {})
    finding = await look("DPM-STREAM", home)
    assert "stream DPM" in finding.text
    assert (await look("DPM-BUS", home)).level == Level.FAILED


async def test_a_certificate_that_is_not_trusted_is_told(home: Home, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(  # noqa: ASYNC221 - nothing else runs yet
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with _answering(context) as port:
        upstream = f"https://localhost:{port}/simple/"
        refused = await _off_loop(home.root, upstream)
        trusted = await _off_loop(home.root, upstream, SSL_CERT_FILE=str(certificate))
        other_name = await _off_loop(
            home.root, upstream.replace("localhost", "127.0.0.1"), SSL_CERT_FILE=str(certificate)
        )
    assert refused.level("DPM-UPSTREAM") == Level.FAILED
    assert "certificate of localhost is not trusted" in refused.text("DPM-UPSTREAM")
    assert "SSL_CERT_FILE" in refused.mend("DPM-UPSTREAM")
    assert trusted.level("DPM-UPSTREAM") == Level.OK, trusted.text("DPM-UPSTREAM")
    assert "not valid for '127.0.0.1'" in other_name.text("DPM-UPSTREAM")


async def test_a_node_in_order_has_nothing_to_mend_and_each_part_that_fails_is_told() -> None:
    server = PackageServer()
    server.add("pip", File("pip-1.tar.gz", b"x"))
    async with server.running(), running_node(pypi_upstream=server.url) as node:
        doctor = await _of(node)
        assert doctor.status == 0, doctor.told
        assert doctor.level("DPM-SERVICES") == doctor.level("DPM-MOUNT") == doctor.level("DPM-BUS") == Level.OK
        assert doctor.level("DPM-STREAM") == doctor.level("DPM-UPSTREAM") == doctor.level("DPM-PORTS") == Level.OK
        assert "form fuse: clients are served through the mount" in doctor.text("DPM-FORM")

        told = await _of(node, UV_DEFAULT_INDEX=node.index)
        assert told.text("DPM-CLIENTS") == "clients are pointed at the node by UV_DEFAULT_INDEX"

        services = (await node.status())["services"]
        fusefs = psutil.Process(services["fusefs"]["pid"])
        fusefs.suspend()
        doctor = await _of(node)
        fusefs.resume()
        assert doctor.status == 1
        assert doctor.level("DPM-MOUNT") == doctor.level("DPM-SERVICES") == Level.FAILED
        assert "fusefs" in doctor.text("DPM-SERVICES")

        bus = psutil.Process(services["nats"]["pid"])
        bus.suspend()
        doctor = await _of(node)
        bus.resume()
        assert doctor.level("DPM-BUS") == Level.FAILED

        async def ready() -> bool:
            told = (await node.status())["services"]
            return all(each["state"] == "running" for each in told.values())

        await eventually(ready)
        await node.dpm("stop", "fetcher")
        doctor = await _of(node)
        assert doctor.told["DPM-SERVICES"]["mend"] == "`dpm start fetcher`"
        await node.dpm("stop", "fusefs")
        doctor = await _of(node)
        assert "nothing is mounted" in doctor.text("DPM-MOUNT")
        assert "no fusefs runs" in doctor.text("DPM-FORM")

        await node.dpm("down")
        doctor = await _of(node)
        assert doctor.status == 0, doctor.told


async def test_an_operator_learns_that_clients_are_pointed_at_a_node_that_is_down(home: Home) -> None:
    index = "http://localhost:3999/simple/"
    doctor = Doctor(home.root, DPM_PYPI_PORT="3999", PIP_INDEX_URL=index, UV_DEFAULT_INDEX=index)
    assert doctor.level("DPM-CLIENTS") == Level.INFO
    assert "PIP_INDEX_URL, UV_DEFAULT_INDEX, and it does not run" in doctor.text("DPM-CLIENTS")
