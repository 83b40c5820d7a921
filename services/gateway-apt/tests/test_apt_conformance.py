"""apt's protocol is an ecosystem: it holds what all do."""

from dpm_core.ecosystem import Fact
from dpm_gateway_apt.ecosystem import Apt
from dpm_gateway_apt.hosts import Host, Hosts
from dpm_testkit.ecosystem_conformance import EcosystemSuite, Sample

SHA, OTHER = "ab" * 32, "cd" * 32
SUITE = "/deb.example/debian/dists/bookworm"
RELEASE = f"""Suite: stable
Acquire-By-Hash: yes
SHA256:
 {SHA} 1000 main/binary-amd64/Packages.xz
 {OTHER} 9000 main/binary-amd64/Packages
 {OTHER} 2000 main/i18n/Translation-en.bz2
""".encode()
SIGNED = (
    b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n"
    + RELEASE
    + b"-----BEGIN PGP SIGNATURE-----\n\niQIz\n-----END PGP SIGNATURE-----\n"
)


class TestApt(EcosystemSuite):
    ecosystem = Apt(
        Hosts(
            {
                "deb.example": Host("deb.example", "http://deb.example/"),
                "team.example": Host("team.example", "https://team.example/", private=("/",)),
            },
            allow=["*.allowed.example", "*.allowed.example:*"],
            https=["s.allowed.example"],
        ),
        fresh_for=300.0,
        limit=1_000_000,
    )
    paths = (
        f"{SUITE}/InRelease", f"{SUITE}/Release", f"{SUITE}/Release.gpg",
        f"{SUITE}/main/binary-amd64/Packages.xz", f"{SUITE}/main/binary-amd64/by-hash/SHA256/{SHA}",
        f"{SUITE}/main/binary-amd64/Packages.diff/Index", "/deb.example/debian/pool/main/h/hello/hello_1_all.deb",
        "/HTTPS///a.allowed.example/repo/Packages.gz", "/a.allowed.example:8080/repo/x.img",
        "/team.example/dists/x/InRelease", "/team.example/dists/x/main/binary-all/Packages",
        f"/team.example/dists/x/main/source/by-hash/SHA512/{SHA}{SHA}",
    )  # fmt: skip
    samples = (
        Sample(f"{SUITE}/InRelease", "", SIGNED),
        Sample(f"{SUITE}/Release", "text/plain", RELEASE),
        Sample("/team.example/dists/x/InRelease", "", SIGNED),
    )

    def address(self, page: str, fact: Fact) -> str:
        return f"/{page.split('/')[1]}/{fact.path}"
