"""A node's own CA, and the certificate that it gives to the node: made, renewed, and looked at.

ECDSA with P-256, which everything that speaks TLS 1.2 knows. The profile is RFC 5280's.
"""

import datetime
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from dpm_cli.outcome import WrongState
from dpm_core.errors import Invalid
from dpm_runtime.disk import replace_file
from dpm_runtime.home import Home
from dpm_runtime.settings import Settings

CA_DAYS = 3650
SERVER_DAYS = 397
"""The longest that strict clients take for a server."""

RENEW_DAYS = 30
"""With fewer left, a certificate is to be renewed."""

_BEFORE = datetime.timedelta(hours=1)
"""Clocks of clients may be behind."""


@dataclass(frozen=True)
class Certificate:
    """What a certificate says: for whom it is, until when, and its SHA-256."""

    names: tuple[str, ...]
    until: datetime.datetime
    fingerprint: str

    def days_left(self, now: datetime.datetime) -> float:
        """Until it is over; less than 0 if it is."""
        return (self.until - now) / datetime.timedelta(days=1)


def names_of(settings: Settings) -> tuple[str, ...]:
    """The names and addresses by which clients may call a node: what its certificate has to name."""
    listened = (*settings.listen, *settings.homeserver_listen)
    addresses = [each for each in listened if not ipaddress.ip_address(each).is_unspecified]
    own = [urlsplit(settings.homeserver_url).hostname or ""] if settings.homeserver_url else []
    return tuple(dict.fromkeys(["localhost", "127.0.0.1", "::1", *settings.allow_hosts, *addresses, *own]))


def read(file: Path) -> Certificate:
    """The first certificate in a file. Raises Invalid if there is none, FileNotFoundError."""
    try:
        found = x509.load_pem_x509_certificates(file.read_bytes())[0]
    except ValueError:
        raise Invalid(f"{file} has no certificate (PEM)") from None
    try:
        shown = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = tuple(str(each.value) for each in shown)
    except x509.ExtensionNotFound:
        names = ()
    return Certificate(names, found.not_valid_after_utc, found.fingerprint(hashes.SHA256()).hex(":"))


def make_ca(home: Home, name: str, now: datetime.datetime) -> Certificate:
    """Make the CA of a home, which is called after ``name``, for people. Raises WrongState if it has one."""
    if home.ca.exists():
        raise WrongState(f"{home.ca} is there already: `dpm tls renew` makes a new certificate by it")
    home.tls.mkdir(mode=0o700, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"DPM {name}"[:64])])
    certificate = (
        _building(subject, subject, key.public_key(), now, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write(_ca_key(home), _pem(key))
    _write(home.ca, certificate.public_bytes(serialization.Encoding.PEM))
    return read(home.ca)


def certify(home: Home, names: Iterable[str], now: datetime.datetime) -> Certificate:
    """Make the node's certificate, for ``names``, by the CA of its home, in place of the one that is there.

    Raises WrongState if there is no CA, or its key has been taken away, Invalid for a name that is none.
    """
    try:
        ca = x509.load_pem_x509_certificate(home.ca.read_bytes())
        ca_key = serialization.load_pem_private_key(_ca_key(home).read_bytes(), None)
    except FileNotFoundError as error:
        raise WrongState(f"{error.filename} is not there: `dpm tls init` makes a CA") from None
    except ValueError:
        raise Invalid(f"the CA in {home.tls} cannot be read") from None
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    named = [_general(each) for each in names]
    certificate = (
        _building(x509.Name([]), ca.subject, key.public_key(), now, SERVER_DAYS, until=ca.not_valid_after_utc)
        .add_extension(x509.SubjectAlternativeName(named), critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    _write(home.certificate, _pem(key) + certificate.public_bytes(serialization.Encoding.PEM))
    return read(home.certificate)


def wanting(certificate: Certificate, names: Iterable[str]) -> list[str]:
    """Those of ``names`` that a certificate does not have."""
    has = {each.lower() for each in certificate.names}
    return [each for each in names if _spelled(each) not in has]


def keep_valid(settings: Settings, now: datetime.datetime) -> str:
    """Renew the node's own certificate if it will soon be over, or lacks a name; returns why, if it did.

    One of another CA is left alone, and so is one whose CA's key is not here. Raises WrongState if there is none.
    """
    home = settings.folders
    if not settings.tls or settings.tls_cert is not None:
        return ""
    names = names_of(settings)
    try:
        held = read(home.certificate)
    except FileNotFoundError:
        raise WrongState(f"tls = true, and {home.certificate} is not there: `dpm tls init`") from None
    missing = wanting(held, names)
    if (not missing and held.days_left(now) >= RENEW_DAYS) or not _ca_key(home).exists():
        return ""
    certify(home, names, now)
    return f"it lacked {', '.join(missing)}" if missing else f"it had {max(0, held.days_left(now)):.0f} days left"


def _building(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime.datetime,
    days: int,
    until: datetime.datetime | None = None,
) -> x509.CertificateBuilder:
    end = now + datetime.timedelta(days=days)
    return (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BEFORE)
        .not_valid_after(min(end, until) if until else end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(name.lower())
    except ValueError:
        raise Invalid(f"{name!r} in allow_hosts cannot be named by a certificate: it is not ASCII") from None


def _spelled(name: str) -> str:
    return str(_general(name).value)


def _ca_key(home: Home) -> Path:
    return home.tls / "ca.key"


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(file: Path, body: bytes) -> None:
    replace_file(file, body, temporary=file.with_name(f"{file.name}~"), safe=True)
