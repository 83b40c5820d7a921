"""The token server of a registry: it signs what docker-registry checks, and lets in whom it knows.

See https://distribution.github.io/distribution/spec/auth/token/ and .../jwt/.
"""

import base64
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from fnmatch import fnmatch
from pathlib import Path

import jwt
import trustme
from aiohttp import web
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate

from dpm_runtime.credentials import basic

ANYBODY = ""
SERVICE = "registry of the tests"


class TokenServer:
    """Gives tokens at ``realm``. ``rights`` are, by ``user:password`` or ANYBODY, patterns of repositories that
    may be pulled; ``seconds`` is how long a token holds.

    ``asked`` counts requests by who asked (a user, or ANYBODY) and for what scope; ``refused`` counts the wrong
    passwords.
    """

    def __init__(self, rights: Mapping[str, str], *, seconds: int = 300) -> None:
        self.rights = dict(rights)
        self.seconds = seconds
        self.asked: Counter[tuple[str, str]] = Counter()
        self.refused = 0
        self.realm = ""
        self._ca = trustme.CA()
        signer = self._ca.issue_cert("tokens.example")
        self._key = load_pem_private_key(signer.private_key_pem.bytes(), None)
        chain = load_pem_x509_certificate(signer.cert_chain_pems[0].bytes()).public_bytes(Encoding.DER)
        self._chain = [base64.b64encode(chain).decode()]

    def settings(self, folder: Path) -> dict[str, object]:
        """What docker-registry's configuration says of it; its CA is written into ``folder``."""
        bundle = folder / "tokens.pem"
        self._ca.cert_pem.write_to_path(str(bundle))
        told = {"realm": self.realm, "service": SERVICE, "issuer": "tests", "rootcertbundle": str(bundle)}
        return {"token": told}

    @asynccontextmanager
    async def running(self, *, tls: ssl.SSLContext | None = None) -> AsyncIterator["TokenServer"]:
        """Serve on a port of this machine for as long as the context lasts."""
        app = web.Application()
        app.router.add_get("/token", self._token)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        self.realm = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}/token"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _token(self, request: web.Request) -> web.Response:
        shown = request.headers.get("Authorization")
        who = next((each for each in self.rights if each and basic(each) == shown), ANYBODY)
        if shown and who == ANYBODY:
            self.refused += 1
            return web.json_response({"errors": [{"code": "UNAUTHORIZED"}]}, status=401)
        user = who.partition(":")[0]
        scopes = request.query.getall("scope", [])
        self.asked[user, " ".join(scopes)] += 1
        now = int(time.time())
        claims = {
            "iss": "tests",
            "sub": user,
            "aud": request.query.get("service", ""),
            "exp": now + self.seconds,
            "nbf": now - 10,
            "iat": now,
            "jti": f"{user}-{sum(self.asked.values())}",
            "access": [self._access(who, scope) for scope in scopes],
        }
        assert not isinstance(self._key, bytes)
        token = jwt.encode(claims, self._key, "ES256", headers={"x5c": self._chain})  # type: ignore[arg-type]
        return web.json_response({"token": token, "expires_in": self.seconds})

    def _access(self, who: str, scope: str) -> dict[str, object]:
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        allowed = any(fnmatch(name, self.rights[each]) for each in (who, ANYBODY) if each in self.rights)
        given = [action for action in actions.split(",") if action == "pull" and allowed]
        return {"type": kind, "name": name, "actions": given}
