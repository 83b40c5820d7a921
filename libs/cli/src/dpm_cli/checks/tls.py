"""A check of the certificate that the node shows: whether it is valid and for all names, and its key kept."""

import datetime

from dpm_cli.checks.model import Check, Finding, Subject, failed, info, ok, together, warning
from dpm_core.errors import Invalid


async def certificate_shown(subject: Subject) -> Finding:
    """Whether clients of https will believe the node, now and for a while."""
    settings = subject.settings
    if not settings.tls:
        return info("gateways speak plain http")
    from dpm_cli.certificates import RENEW_DAYS, names_of, read, wanting
    from dpm_runtime.server_tls import ServerTls

    own = settings.tls_cert is None
    mend = "`dpm tls renew`" if own else "renew it where it came from, in place: running gateways take it up"
    cert, key = settings.tls_files
    try:
        ServerTls(cert, key)
        held = read(cert)
    except (Invalid, FileNotFoundError) as error:
        return failed(str(error), "`dpm tls init`" if own else "see `tls_cert` in docs/guides/networks.md")
    found = [ok(f"the certificate has {', '.join(held.names)}")]
    days = held.days_left(datetime.datetime.now(datetime.UTC))
    if days < 0:
        found.append(failed(f"the certificate is over since {held.until:%Y-%m-%d}", mend))
    elif days < RENEW_DAYS:
        found.append(warning(f"the certificate is valid for {days:.0f} more days", mend))
    # one of another CA need not have the loopback
    wanted = names_of(settings) if own else settings.allow_hosts
    if missing := wanting(held, wanted):
        found.append(warning(f"the certificate does not have {', '.join(missing)}", mend))
    if key.stat().st_mode & 0o077:
        found.append(failed(f"others may read the key in {key}", f"chmod 600 {key}"))
    return together(found, "")


CHECKS = (
    Check(
        "DPM-TLS",
        "The certificate that clients are shown is valid, and for all names of the node",
        "`dpm tls renew`.",
        certificate_shown,
        settings=True,
    ),
)
