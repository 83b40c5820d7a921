"""The protocol of registries, its pull side: the OCI distribution specification 1.1.

https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md has it. A repository of the default
registry is at ``/v2/<name>/``, one of another at ``/v2/<host>/<name>/``, or at ``/v2/<name>/`` with ``ns=<host>``
in the query.
"""

import hashlib
import json
from dataclasses import replace
from typing import Protocol
from urllib.parse import parse_qsl, quote, urlencode

from dpm_core.artifacts import ArtifactRef, Fields
from dpm_core.ecosystem import Direct, Ecosystem, IndexPage, Made, Page, Redirect, Refusal, Request, Target
from dpm_core.errors import Invalid
from dpm_gateway_oci.names import PUSH, Asked, Kind, Own, read_path
from dpm_gateway_oci.paging import next_page, read_paging
from dpm_gateway_oci.problems import Code, Wrong, code_of, problem_page
from dpm_gateway_oci.referrers import IMAGE_INDEX, no_referrers, referrers
from dpm_gateway_oci.registries import Registries, Repository
from dpm_gateway_oci.seal import PREFIX
from dpm_gateway_oci.wants import CONTENT_DIGEST, ECOSYSTEM, MANIFESTS, Wants

API_VERSION = ("Docker-Distribution-Api-Version", "registry/2.0")
"""By it old clients know that this is a registry."""

NAMESPACE = "OCI-Namespace"

NS = "ns"
TYPE = "artifactType"
"""Parameters of a query: a registry's host, and the type of the referrers that are wanted."""

_SERVICE = "dpm"


class Tokens(Protocol):
    """Tokens that stand for what a client has shown. See ``seal``, which has it all."""

    def page(self, authorization: str) -> Page:
        """The answer of the token endpoint."""

    def opened(self, token: str) -> str | None:
        """What a token stands for, None if it stands for nothing (any more)."""


class OCI(Ecosystem):
    """The pull side of the distribution specification in front of registries."""

    name = ECOSYSTEM
    describes_itself = True

    def __init__(self, registries: Registries, tokens: Tokens, wants: Wants) -> None:
        self._registries = registries
        self._tokens = tokens
        self._wants = wants

    def classify(self, request: Request) -> Target:
        """What the request is for: a manifest, a blob, a list, a token, or nothing here."""
        found = self._read(request)
        match found:
            case Wrong():
                return self._wrong(request, found)
            case Own.BARE_BASE:
                return Redirect("v2/")
            case Own.BASE:
                if not request.headers.get("authorization"):
                    # docker and podman ask here, and nowhere else, how they are to show what they have
                    return self._unauthorized(request, "anybody gets a token, and what is public with it")
                return Made(Page("application/json", b"{}", (API_VERSION,)))
            case Own.TOKEN:
                authorization = request.headers.get("authorization", "")
                if authorization and authorization.partition(" ")[0].lower() != "basic":
                    basic = ("WWW-Authenticate", f'Basic realm="{_SERVICE}"')
                    return Refusal(
                        401, "a token is given for a name and a password, or for nothing", headers=(basic,)
                    )
                return Made(self._tokens.page(authorization))
            case (asked, repository):
                return self._target(request, asked, repository)

    def render(self, index: ArtifactRef, media_type: str, body: bytes, variant: str, fields: Fields = ()) -> Page:
        """Upstream's very bytes; of referrers perhaps those alone that were asked for. Raises Invalid."""
        asked = dict(parse_qsl(variant))
        if asked["kind"] == Kind.MANIFEST:
            if not isinstance(_json(body), dict):
                raise Invalid("what is under the tag is no manifest")
            digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
            told = self.media_type_in(index, body) or media_type
            return Page(self.media_type(index, told), body, ((CONTENT_DIGEST, digest),))
        if asked["kind"] == Kind.TAGS:
            if not isinstance(_json(body), dict):
                raise Invalid("this is no list of tags")
            page = Page(media_type or "application/json", body)
        else:
            page = referrers(body, asked.get(TYPE, ""))
        more = [(name, asked[name]) for name in (NS, TYPE) if name in asked]
        onward = next_page(dict(fields).get("link", ""), asked["path"], more)
        return replace(page, headers=(*page.headers, ("Link", onward))) if onward else page

    def media_type(self, file: ArtifactRef, told: str) -> str:
        """A manifest's is what upstream says: clients judge by it. Blobs are octets (image specification)."""
        return told or MANIFESTS[1] if f"/{Kind.MANIFEST}/" in file.key else "application/octet-stream"

    def media_type_in(self, file: ArtifactRef, body: bytes) -> str:
        """A manifest has a ``mediaType``, or else is known by what it lists (image specification)."""
        if f"/{Kind.MANIFEST}/" not in file.key:
            return ""
        try:
            manifest = _json(body)
        except Invalid:
            return ""
        if not isinstance(manifest, dict):
            return ""
        if "mediaType" in manifest:
            return next((each for each in MANIFESTS if each == manifest["mediaType"]), "")
        return IMAGE_INDEX if "manifests" in manifest else MANIFESTS[1] if "layers" in manifest else ""

    def problem(self, request: Request, refusal: Refusal) -> Page:
        """JSON with the specification's codes."""
        found = self._read(request)
        if isinstance(found, Wrong) and found.status == refusal.status:
            code = found.code
        else:
            code = code_of(refusal.status, found[0].kind.missing if isinstance(found, tuple) else Code.UNSUPPORTED)
        return problem_page(code, refusal)

    def shown(self, request: Request) -> str:
        """What the client's token stands for, or what else it shows."""
        authorization = request.headers.get("authorization", "")
        token = _token(authorization)
        return authorization if token is None else self._tokens.opened(token) or ""

    def challenge(self, request: Request, realm: str) -> str:
        """Where to get a token, and for what (https://distribution.github.io/distribution/spec/auth/token/)."""
        host = request.headers.get("host", "").replace('"', "")
        fields = [f'realm="{request.scheme}://{host}{Own.TOKEN}"', f'service="{_SERVICE}"']
        found = read_path(request.path)
        if isinstance(found, Asked):
            fields.append(f'scope="repository:{quote(found.name)}:pull"')
        if request.headers.get("authorization"):
            fields.append('error="invalid_token"')
        return f"Bearer {','.join(fields)}"

    def _read(self, request: Request) -> "Own | Wrong | tuple[Asked, Repository]":
        """What a request is for, if it is for anything."""
        if request.method not in ("GET", "HEAD"):
            return Wrong(Code.UNSUPPORTED, PUSH, 405)
        route = read_path(request.path)
        token = _token(request.headers.get("authorization", ""))
        if route != Own.TOKEN and token is not None and self._tokens.opened(token) is None:
            return Wrong(Code.UNAUTHORIZED, "the token has ended: ask for another one", 401)
        if not isinstance(route, Asked):
            return route
        repository = self._registries.repository(route.name, _parameter(request, NS))
        return repository if isinstance(repository, Wrong) else (route, repository)

    def _wrong(self, request: Request, wrong: Wrong) -> Refusal:
        return self._unauthorized(request, wrong.detail) if wrong.status == 401 else wrong.refusal

    def _unauthorized(self, request: Request, detail: str) -> Refusal:
        challenge = ("WWW-Authenticate", self.challenge(request, ""))
        return Refusal(401, detail, headers=(challenge, API_VERSION))

    def _target(self, request: Request, asked: Asked, repository: Repository) -> Target:
        ns = _parameter(request, NS).lower()
        headers: Fields = (API_VERSION, *(((NAMESPACE, ns),) if ns else ()))
        realm = repository.registry.host
        if asked.digest is not None and asked.kind is not Kind.REFERRERS:
            about = (*headers, (CONTENT_DIGEST, str(asked.digest)))
            if asked.kind is Kind.BLOB:
                return Direct(self._wants.blob(repository, asked.digest), realm, about)
            # clients ask for a manifest by its tag and then by its digest, when it is held already
            return Direct(self._wants.manifest(repository, asked.digest), realm, about, beside=True)
        variant = {"kind": asked.kind.value}
        absent = None
        if asked.kind is Kind.MANIFEST:
            wants = self._wants.tagged(repository, asked.tag)
        else:
            paging = read_paging(request.query)
            if isinstance(paging, Wrong):
                return paging.refusal
            variant |= {"path": _path(asked, repository), **({NS: ns} if ns else {})}
            if asked.digest is None:
                wants = self._wants.tags(repository, paging)
            else:
                wants = self._wants.referrers(repository, asked.digest, paging)
                artifact_type = _parameter(request, TYPE)
                variant |= {TYPE: artifact_type} if artifact_type else {}
                absent = no_referrers(artifact_type)
        first, *otherwise = wants
        return IndexPage(first, urlencode(variant), realm, tuple(otherwise), False, headers, absent)


def _path(asked: Asked, repository: Repository) -> str:
    """Where the client finds what it asks for, and further pages of it."""
    return f"/v2/{repository.said}/{f'{asked.kind}/{asked.digest}' if asked.digest else 'tags/list'}"


def _parameter(request: Request, name: str) -> str:
    """The first value of a parameter of the query; empty if there is none."""
    return next((value for each, value in parse_qsl(request.query) if each == name), "")


def _token(authorization: str) -> str | None:
    """The token of ours in an Authorization field, None if there is none (RFC 6750, 2.1)."""
    scheme, _, token = authorization.strip().partition(" ")
    token = token.strip()
    return token if scheme.lower() == "bearer" and token.startswith(PREFIX) else None


def _json(body: bytes) -> object:
    try:
        found: object = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"this is no JSON: {error}") from error
    return found
