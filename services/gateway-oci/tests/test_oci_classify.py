"""What a request is for, and what a fetcher is told of it."""

import hashlib
import json
import pickle
import re
import string
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpm_core.artifacts import ANY_HOST, CLIENTS, NODES, ArtifactRef, Fields, Lane, Want
from dpm_core.digests import Digest
from dpm_core.ecosystem import Direct, Ecosystem, IndexPage, Made, Page, Redirect, Refusal, Request, Target
from dpm_core.errors import Invalid
from dpm_gateway_oci.ecosystem import API_VERSION, OCI
from dpm_gateway_oci.problems import Code
from dpm_gateway_oci.registries import Policy, Registries, Registry
from dpm_gateway_oci.seal import Seal
from dpm_gateway_oci.wants import MANIFESTS, Wants

UPSTREAM = "https://index.hub.example/"
HUB = Registry("hub.example", UPSTREAM, official=True)
SHARED = Registry("shared.example", "https://shared.example/", Policy.SHARED, credentials=True)
PUBLIC = Registry("public.example", "https://public.example/", Policy.PUBLIC, credentials=True)
PLAIN = Registry("plain.example", "http://plain.example/", Policy.PUBLIC)
REGISTRIES = Registries(
    [SHARED, PUBLIC, PLAIN], default=HUB, default_names=["hub.example"], allow=["allowed.*", "named.example"]
)
SEAL = Seal(b"the gateway's own seed", lambda: 1e9)
NODE = OCI(REGISTRIES, SEAL, Wants(60.0, 1000, 5000))
SHA = Digest("sha256:" + "ab" * 32)
BASIC = "Basic YW5uYTpzZWNyZXQ="
INDEX = MANIFESTS[0]


def ask(path: str, *, query: str = "", method: str = "GET", **headers: str) -> Target:
    return NODE.classify(Request(method, path, query, {"host": "node.example:5000", **headers}))


def page(path: str, *, query: str = "") -> IndexPage:
    found = ask(path, query=query)
    assert isinstance(found, IndexPage), found
    return found


def direct(path: str, *, query: str = "") -> Direct:
    found = ask(path, query=query)
    assert isinstance(found, Direct), found
    return found


def refused(path: str, *, query: str = "", method: str = "GET", **headers: str) -> Refusal:
    found = ask(path, query=query, method=method, **headers)
    assert isinstance(found, Refusal), found
    return found


def rendered(target: IndexPage, body: bytes, fields: Fields = (), media_type: str = "text/x") -> Page:
    return NODE.render(target.want.ref, media_type, body, target.variant, fields)


def test_it_is_an_ecosystem_and_goes_to_the_process_that_works_on_pages() -> None:
    ecosystem: Ecosystem = pickle.loads(pickle.dumps(OCI(REGISTRIES, Seal(b"secret"), Wants(1.0, 1, 1))))
    assert ecosystem.name == "oci"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_tag_is_a_mutable_page(method: str) -> None:
    target = ask("/v2/team/app/manifests/1.0", method=method)
    assert isinstance(target, IndexPage)
    key = "v2/team/app/manifests/1.0"
    assert target.want == Want(
        ref=ArtifactRef("oci", UPSTREAM, key),
        name="hub.example/team/app:1.0",
        url=UPSTREAM + key,
        lane=Lane.INDEX,
        headers=(("Accept", ", ".join((*MANIFESTS, "*/*;q=0.1"))),),
        limit=1000,
        fresh_for=60.0,
        scope="repository:team/app:pull",
        digest_field="docker-content-digest",
    )
    assert (target.coded, target.realm, target.headers) == (False, "hub.example", (API_VERSION,))


def test_a_manifest_by_its_digest_is_for_ever_and_may_be_held_under_its_tag() -> None:
    target = direct(f"/v2/team/app/manifests/{SHA}")
    want = target.wants[0]
    assert (want.digests, want.fresh_for, want.lane, want.limit) == ((SHA,), None, Lane.INDEX, 1000)
    assert target.beside
    assert ("Docker-Content-Digest", str(SHA)) in target.headers
    assert NODE.media_type(want.ref, "application/x") == "application/x"


LISTS = "application/vnd.docker.distribution.manifest.list.v2+json"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"mediaType": LISTS, "manifests": []}, LISTS),
        ({"manifests": []}, "application/vnd.oci.image.index.v1+json"),
        ({"config": {}, "layers": []}, "application/vnd.oci.image.manifest.v1+json"),
        ({"mediaType": "text/html", "layers": []}, ""),
        ({"mediaType": ["x"]}, ""),
        ({"schemaVersion": 1, "fsLayers": []}, ""),
        ([], ""),
    ],
)
def test_a_manifest_says_itself_what_it_is(body: object, said: str) -> None:
    ref = direct(f"/v2/team/app/manifests/{SHA}").wants[0].ref
    assert NODE.media_type_in(ref, json.dumps(body).encode()) == said
    assert NODE.media_type_in(ref, b"no JSON") == ""
    assert NODE.media_type_in(direct(f"/v2/team/app/blobs/{SHA}").wants[0].ref, json.dumps(body).encode()) == ""


def test_a_blob_is_octets_that_may_lie_anywhere() -> None:
    target = direct(f"/v2/team/app/blobs/{SHA}")
    want = target.wants[0]
    assert (want.digests, want.lane, want.limit, want.hosts) == ((SHA,), Lane.BLOB, None, (ANY_HOST,))
    assert NODE.media_type(want.ref, "application/x") == "application/octet-stream"


def test_an_official_image_is_below_library() -> None:
    assert page("/v2/alpine/manifests/3").want.url == UPSTREAM + "v2/library/alpine/manifests/3"


def test_a_registry_that_a_client_names_is_a_stranger_and_is_echoed() -> None:
    target = page("/v2/team/app/manifests/1", query="ns=Allowed.example")
    assert target.want.url == "https://allowed.example/v2/team/app/manifests/1"
    assert target.want.stranger
    assert ("OCI-Namespace", "allowed.example") in target.headers
    for named in ("plain.example", "named.example"):
        assert not page(f"/v2/{named}/team/app/manifests/1").want.stranger


def test_what_is_public_comes_first_and_what_is_not_is_kept_apart() -> None:
    open_, guarded = direct(f"/v2/team/app/blobs/{SHA}").wants
    assert (open_.private, open_.credentials) == (False, "")
    assert (guarded.private, guarded.credentials) == (True, CLIENTS)
    assert guarded.ref.key == "~/" + open_.ref.key
    assert guarded.url == open_.url


def test_a_shared_registry_is_for_who_has_a_token() -> None:
    (want,) = direct(f"/v2/shared.example/app/blobs/{SHA}").wants
    assert (want.private, want.credentials, want.ref.key[:2]) == (True, NODES, "~/")


def test_a_public_registry_is_for_everybody_by_the_nodes_credentials() -> None:
    (lent,) = direct(f"/v2/public.example/app/blobs/{SHA}").wants
    assert (lent.private, lent.credentials, lent.ref.key[:8]) == (False, NODES, "~public/")
    (plain,) = direct(f"/v2/plain.example/app/blobs/{SHA}").wants
    assert (plain.private, plain.credentials, plain.ref.key[:3]) == (False, "", "v2/")


def test_a_list_of_tags_is_a_page_for_each_way_to_ask_for_it() -> None:
    target = page("/v2/team/app/tags/list", query="last=b&n=2&ns=hub.example")
    assert target.want.ref.key == "v2/team/app/tags/list?n=2&last=b"
    assert (target.want.keeps, target.want.limit) == (("link",), 5000)
    link = (("link", '</v2/team/app/tags/list?last=d&n=2>; rel="next"'),)
    shown = rendered(target, b'{"name": "team/app", "tags": ["c", "d"]}', link)
    assert shown.body == b'{"name": "team/app", "tags": ["c", "d"]}'
    assert dict(shown.headers) == {"Link": '</v2/team/app/tags/list?n=2&last=d&ns=hub.example>; rel="next"'}


def test_referrers_are_asked_of_the_api_and_then_of_the_tag() -> None:
    target = page(f"/v2/team/app/referrers/{SHA}", query="artifactType=a/b")
    keys = [want.ref.key for want in (target.want, *target.otherwise)]
    api, tag = f"v2/team/app/referrers/{SHA}", f"v2/team/app/manifests/{SHA.replace(':', '-')}"
    assert keys == [api, tag, f"~/{api}", f"~/{tag}"]
    assert target.absent is not None and json.loads(target.absent.body)["manifests"] == []
    index = {"mediaType": INDEX, "manifests": [{"artifactType": "a/b"}, {"artifactType": "c/d"}]}
    shown = rendered(target, json.dumps(index).encode())
    assert json.loads(shown.body)["manifests"] == [{"artifactType": "a/b"}]
    assert ("OCI-Filters-Applied", "artifactType") in shown.headers


def test_a_manifest_goes_out_as_it_is_with_its_digest() -> None:
    body = b' {"a": 1}\n'
    shown = rendered(page("/v2/app/manifests/1"), body, media_type="application/x")
    assert (shown.media_type, shown.body) == ("application/x", body)
    assert shown.headers == (("Docker-Content-Digest", f"sha256:{hashlib.sha256(body).hexdigest()}"),)


def test_a_manifest_that_upstream_calls_nothing_is_what_it_says_itself() -> None:
    tag = page("/v2/app/manifests/1")
    for said, called in ((MANIFESTS[3], MANIFESTS[3]), ("text/html", MANIFESTS[1]), (None, MANIFESTS[1])):
        assert rendered(tag, json.dumps({"mediaType": said}).encode(), media_type="").media_type == called
    assert rendered(page("/v2/app/tags/list"), b"{}", media_type="").media_type == "application/json"


@pytest.mark.parametrize("path", ["/v2/app/manifests/1", "/v2/app/tags/list", f"/v2/app/referrers/{SHA}"])
@pytest.mark.parametrize("body", [b"<html>", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_served_to_nobody(path: str, body: bytes) -> None:
    with pytest.raises(Invalid):
        rendered(page(path), body)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_a_push_is_sent_to_the_registry_itself(method: str) -> None:
    told = refused("/v2/app/blobs/uploads/", method=method)
    assert (told.status, told.headers) == (405, (("Allow", "GET, HEAD"),))
    assert "push to the registry itself" in told.detail


def challenge(**headers: str) -> dict[str, str]:
    told = dict(refused("/v2/", **headers).headers)["WWW-Authenticate"]
    assert told.startswith("Bearer ")
    return dict(re.findall(r'(\w+)="([^"]*)"', told))


def test_the_base_says_where_tokens_are() -> None:
    assert challenge() == {"realm": "http://node.example:5000/v2/token", "service": "dpm"}
    assert ask("/v2") == Redirect("v2/")


def token_for(authorization: str) -> str:
    made = ask("/v2/token", query="service=dpm", **({"authorization": authorization} if authorization else {}))
    assert isinstance(made, Made)
    token: str = json.loads(made.page.body)["token"]
    return token


@pytest.mark.parametrize("authorization", ["", BASIC])
def test_a_token_stands_for_what_the_client_showed(authorization: str) -> None:
    shows = {"authorization": f"Bearer {token_for(authorization)}"}
    assert isinstance(ask("/v2/", **shows), Made)
    assert NODE.shown(Request("GET", "/v2/", "", shows)) == authorization


def test_basic_needs_no_token() -> None:
    assert isinstance(ask("/v2/", authorization=BASIC), Made)
    assert NODE.shown(Request("GET", "/v2/", "", {"authorization": BASIC})) == BASIC


def test_a_token_is_given_for_nothing_else() -> None:
    assert refused("/v2/token", authorization="Bearer x").status == 401


def test_a_token_that_has_ended_is_refused_everywhere() -> None:
    ended = Seal(b"the gateway's own seed", lambda: 1e9 - 1000).token(BASIC)
    told = refused("/v2/app/manifests/1", authorization=f"Bearer {ended}")
    assert told.status == 401
    assert challenge(authorization=f"Bearer {ended}")["error"] == "invalid_token"
    assert 'scope="repository:app:pull"' in dict(told.headers)["WWW-Authenticate"]


@pytest.mark.parametrize(
    ("path", "query", "status", "code"),
    [
        ("/v2/app/manifests/1", "", 404, Code.MANIFEST_UNKNOWN),
        ("/v2/app/blobs/" + SHA, "", 404, Code.BLOB_UNKNOWN),
        ("/v2/app/tags/list", "", 404, Code.NAME_UNKNOWN),
        ("/v2/app/manifests/1", "", 429, Code.TOOMANYREQUESTS),
        ("/v2/app/manifests/1", "", 503, Code.UNAVAILABLE),
        ("/v2/app/manifests/1", "", 502, Code.UNKNOWN),
        ("/v2/app/manifests/1", "ns=other.example", 403, Code.DENIED),
        ("/v2/App/manifests/1", "", 400, Code.NAME_INVALID),
        ("/v2/app/blobs/x", "", 400, Code.DIGEST_INVALID),
        ("/nowhere", "", 404, Code.UNSUPPORTED),
    ],
)
def test_every_refusal_has_a_code_of_the_specification(path: str, query: str, status: int, code: Code) -> None:
    shown = NODE.problem(Request("GET", path, query), Refusal(status, "why"))
    assert shown.media_type == "application/json"
    assert json.loads(shown.body) == {"errors": [{"code": code, "message": "why"}]}


@given(
    st.text(string.printable).map(lambda text: f"/v2/{quote(text, safe='/:%')}"),
    st.text(string.printable),
    st.sampled_from(["GET", "HEAD", "POST"]),
    st.text(string.printable),
)
def test_whatever_is_asked_is_answered_in_the_protocols_form(
    path: str, query: str, method: str, authorization: str
) -> None:
    request = Request(method, path, query, {"host": "node.example", "authorization": authorization})
    target = NODE.classify(request)
    if isinstance(target, Refusal):
        assert json.loads(NODE.problem(request, target).body)["errors"][0]["message"] == target.detail
    NODE.shown(request)
    NODE.challenge(request, "realm")
