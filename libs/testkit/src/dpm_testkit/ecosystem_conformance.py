"""What every ecosystem must hold. Subclass EcosystemSuite, and say what your ecosystem serves."""

import pickle
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar
from urllib.parse import quote, urljoin, urlsplit

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dpm_core.artifacts import Fields, Want, authority, normalise_upstream
from dpm_core.ecosystem import (
    Direct,
    Ecosystem,
    Fact,
    IndexedFile,
    IndexPage,
    Made,
    Page,
    Redirect,
    Refusal,
    Request,
    Target,
)
from dpm_core.errors import Invalid

MOST_REDIRECTS = 3
"""From one spelling of an address to the right one."""

SECRET = "c2VjcmV0OnNlY3JldA=="
"""What a client shows as its password: no event is to have it."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?")
"""Names and values of fields as RFC 9110, 5.1 and 5.5, has them."""

_ODD = (
    "",
    ".",
    "..",
    "%2e%2e",
    "%2f",
    "%",
    "%00",
    "%0A",
    "%ff",
    "%E2%82%AC",
    "-",
    "~",
    ":80",
    "[::1]",
    "a b",
    "a@b",
)
_FIELDS = ("accept", "authorization", "host", "range", "if-none-match", "cookie", "x-forwarded-host")

PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126)).map(str.strip)
"""What the value of a field may be, as upstream sends it."""

suite = settings(suppress_health_check=[HealthCheck.differing_executors], max_examples=50)
"""The promises are run for each ecosystem that subclasses them."""


@dataclass(frozen=True)
class Sample:
    """An index as an upstream gives it, for the page that the node has at ``path``."""

    path: str
    media_type: str
    body: bytes


class EcosystemSuite:
    """The promises of Ecosystem.

    ``paths`` are some that the ecosystem serves, of each kind; ``samples`` are indexes, with files if it has any.
    """

    ecosystem: ClassVar[Ecosystem]
    paths: ClassVar[Sequence[str]]
    samples: ClassVar[Sequence[Sample]] = ()

    def address(self, page: str, fact: Fact) -> str:
        """Where on the node the file of a fact is, of an index whose page is at the path ``page``."""
        raise NotImplementedError

    def requests(self) -> st.SearchStrategy[Request]:
        """Whatever a client may send, mostly something like what is served."""
        pieces = [*{piece for path in self.paths for piece in path.split("/")}, *_ODD]
        piece = st.sampled_from(pieces) | st.text(max_size=8) | st.text(max_size=8).map(lambda text: quote(text))
        mixed = st.lists(piece, max_size=8).map(lambda pieces: "/" + "/".join(pieces))
        hosts = st.sampled_from(["localhost:3141", "127.0.0.1", "[::1]:80", "node.example"])
        shown = (
            st.sampled_from([f"Basic {SECRET}", f"Bearer {SECRET}", "Basic", "Bearer ", "Digest x"]) | st.text()
        )
        fields = st.dictionaries(st.sampled_from(_FIELDS), st.text(max_size=20), max_size=3)
        headers: st.SearchStrategy[Mapping[str, str]] = st.builds(
            lambda fields, host, shown: {**fields, "host": host, **({"authorization": shown} if shown else {})},
            fields,
            hosts,
            st.none() | shown,
        )
        return st.builds(
            Request,
            st.sampled_from(["GET", "HEAD"]),
            st.sampled_from(list(self.paths)) | mixed | st.text(),
            st.just("") | st.text(max_size=20),
            headers,
            st.sampled_from(["1.0", "1.1"]),
            st.sampled_from(["http", "https"]),
        )

    def served(self) -> Iterator[tuple[str, Target]]:
        for path in self.paths:
            yield path, self.ecosystem.classify(_get(path))

    def test_it_serves_what_it_says(self) -> None:
        for path, target in self.served():
            assert not isinstance(target, Refusal), f"{path}: {target.detail}"
            _sound(self.ecosystem, target)

    @suite
    @given(st.data())
    def test_every_request_has_a_target_that_makes_sense(self, data: st.DataObject) -> None:
        request = data.draw(self.requests())
        target = self.ecosystem.classify(request)
        _sound(self.ecosystem, target)
        assert SECRET not in repr(_wants(target)), "events are made of wants, and hold no credentials"

    @suite
    @given(st.data())
    def test_the_same_request_is_for_the_same_artifacts_and_head_for_those_of_get(
        self, data: st.DataObject
    ) -> None:
        request = data.draw(self.requests())
        first = self.ecosystem.classify(replace(request, method="GET"))
        for method in ("GET", "HEAD"):
            again = self.ecosystem.classify(replace(request, method=method))
            assert (type(again), _wants(again)) == (type(first), _wants(first))

    @suite
    @given(st.data(), st.sampled_from(["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "get", ""]) | st.text())
    def test_nothing_is_done_but_reading(self, data: st.DataObject, method: str) -> None:
        if method in ("GET", "HEAD"):
            return
        asked = data.draw(self.requests())
        assert isinstance(self.ecosystem.classify(replace(asked, method=method)), Refusal)
        for path in self.paths:
            refusal = self.ecosystem.classify(Request(method, path))
            assert isinstance(refusal, Refusal)
            assert refusal.status == 405
            assert "GET" in dict(refusal.headers)["Allow"]

    @suite
    @given(st.data())
    def test_a_redirect_leads_to_an_address_of_this_node_and_then_to_no_other(self, data: st.DataObject) -> None:
        request = data.draw(self.requests())
        if not request.path.isascii():
            return
        for _ in range(MOST_REDIRECTS):
            target = self.ecosystem.classify(request)
            if not isinstance(target, Redirect):
                return
            there = urlsplit(urljoin(f"http://node{request.path}", target.location))
            assert there.netloc == "node", f"{request.path} leads to {target.location}"
            request = replace(request, path=there.path, query=there.query)
        assert not isinstance(self.ecosystem.classify(request), Redirect)

    @suite
    @given(st.data(), st.integers(400, 599), st.text())
    def test_every_refusal_has_a_form(self, data: st.DataObject, status: int, detail: str) -> None:
        request = data.draw(self.requests())
        page = self.ecosystem.problem(request, Refusal(status, detail))
        _sound_page(page)
        assert page.body
        assert SECRET.encode() not in page.body

    @suite
    @given(st.data())
    def test_what_a_client_shows_and_is_told_to_show_are_fields(self, data: st.DataObject) -> None:
        request = data.draw(self.requests())
        assert isinstance(self.ecosystem.shown(request), str)
        assert self.ecosystem.shown(replace(request, headers={"host": "localhost"})) == ""
        for realm in {_realm(target) for _, target in self.served()} - {""}:
            assert _VALUE.fullmatch(self.ecosystem.challenge(request, realm))

    @suite
    @given(st.binary(), st.sampled_from(["", "text/html", "application/json"]) | PRINTABLE)
    def test_any_bytes_are_an_index_or_invalid(self, body: bytes, media_type: str) -> None:
        for _, target in self.served():
            if not isinstance(target, IndexPage):
                continue
            for want in _wants(target):
                try:
                    _sound_page(self.ecosystem.render(want.ref, media_type, body, target.variant))
                    list(self.ecosystem.facts(want.ref, media_type, body))
                except Invalid:
                    continue

    @suite
    @given(st.data())
    def test_whatever_upstream_says_beside_an_index_it_is_one(self, data: st.DataObject) -> None:
        for sample in self.samples:
            target = self._index(sample)
            kept = st.tuples(st.sampled_from(target.want.keeps or ("link",)), PRINTABLE)
            fields = tuple(data.draw(st.lists(kept, max_size=2)))
            about = (target.want.ref, sample.media_type, sample.body, target.variant)
            _sound_page(self.ecosystem.render(*about, fields))

    @suite
    @given(PRINTABLE)
    def test_everything_has_a_media_type(self, told: str) -> None:
        for _, target in self.served():
            for want in _wants(target):
                assert _VALUE.fullmatch(self.ecosystem.media_type(want.ref, told))
        for want, fact in self._files():
            assert _VALUE.fullmatch(self.ecosystem.media_type(self.ecosystem.locate(want, fact).ref, told))

    @suite
    @given(st.binary(max_size=200))
    def test_any_bytes_say_what_they_are_or_nothing(self, body: bytes) -> None:
        for _, target in self.served():
            for want in _wants(target):
                said = self.ecosystem.media_type_in(want.ref, body)
                assert not said or _VALUE.fullmatch(said)

    def test_an_index_is_rendered_alike_each_time(self) -> None:
        for sample in self.samples:
            target = self._index(sample)
            about = (target.want.ref, sample.media_type, sample.body, target.variant)
            page = self.ecosystem.render(*about)
            _sound_page(page)
            assert self.ecosystem.render(*about) == page

    def test_what_an_index_says_of_a_file_leads_back_to_the_index(self) -> None:
        for sample in self.samples:
            target = self._index(sample)
            for fact in self.ecosystem.facts(target.want.ref, sample.media_type, sample.body):
                file = self.ecosystem.classify(_get(self.address(sample.path, fact)))
                assert isinstance(file, IndexedFile), f"{fact.path} is served as {file}"
                assert file.path == fact.path
                assert target.want in file.indexes or _searched(self.ecosystem, file, target.want)

    def test_a_file_is_wanted_as_its_fact_says(self) -> None:
        ids: dict[str, str] = {}
        for want, fact in self._files():
            file = self.ecosystem.locate(want, fact)
            assert file == self.ecosystem.locate(want, fact)
            _sound_want(self.ecosystem, file)
            assert (file.digests, file.size, file.private) == (fact.digests, fact.size, want.private)
            assert not file.mutable
            assert file.url == fact.url.partition("?")[0], "a query may be a signature, and wants go into events"
            assert ids.setdefault(file.ref.id, fact.path) == fact.path

    def test_the_newest_is_the_same_thing_under_another_name(self) -> None:
        for _, target in self.served():
            for want in _wants(target) if isinstance(target, IndexPage | IndexedFile) else ():
                newest = self.ecosystem.newest(want)
                if newest is not None:
                    assert newest.mutable
                    assert newest.ref.id != want.ref.id
                    assert replace(newest, ref=want.ref) == want

    def test_it_works_in_a_process_of_its_own(self) -> None:
        copy: Ecosystem = pickle.loads(pickle.dumps(self.ecosystem))
        for path, target in self.served():
            assert _wants(copy.classify(_get(path))) == _wants(target)

    def _index(self, sample: Sample) -> IndexPage:
        target = self.ecosystem.classify(_get(sample.path))
        assert isinstance(target, IndexPage)
        return target

    def _files(self) -> Iterator[tuple[Want, Fact]]:
        for sample in self.samples:
            want = self._index(sample).want
            for fact in self.ecosystem.facts(want.ref, sample.media_type, sample.body):
                yield want, fact


def _get(path: str) -> Request:
    return Request("GET", path, "", {"host": "localhost:3141"})


def _wants(target: Target) -> tuple[Want, ...]:
    """What may be fetched for a target."""
    match target:
        case IndexPage(want=want, otherwise=otherwise):
            return want, *otherwise
        case IndexedFile(indexes=indexes, otherwise=otherwise):
            return indexes if otherwise is None else (*indexes, otherwise)
        case Direct(wants=wants):
            return wants
        case _:
            return ()


def _searched(ecosystem: Ecosystem, file: IndexedFile, index: Want) -> bool:
    """Whether an index is searched for a file once it is held."""
    like = file.otherwise or file.indexes[0]
    beside = like.ref.upstream == index.ref.upstream and like.private == index.private
    return (
        beside
        and file.within is not None
        and index.ref.key.startswith(file.within)
        and ecosystem.names_files(index.ref)
    )


def _realm(target: Target) -> str:
    return target.realm if isinstance(target, IndexPage | IndexedFile | Direct) else ""


def _sound(ecosystem: Ecosystem, target: Target) -> None:
    """A target that the gateway kit can serve."""
    wants = _wants(target)
    for want in wants:
        _sound_want(ecosystem, want)
        assert not want.private or _realm(target), "what is private is for somebody"
    assert len({want.ref.id for want in wants}) == len(wants), "what is open is never what is private, too"
    match target:
        case IndexPage():
            assert all(want.mutable for want in wants), "a page that never changes is no index"
            _sound_fields(target.headers)
            if target.absent is not None:
                _sound_page(target.absent)
        case IndexedFile():
            assert target.path
            assert wants
        case Direct():
            assert wants
            assert all(want.vouched and not want.mutable for want in wants), "nothing else says what the bytes are"
            _sound_fields(target.headers)
        case Made(page=page):
            _sound_page(page)
        case Redirect(location=location, status=status):
            assert 300 < status < 400
            assert _VALUE.fullmatch(location)
            assert location.isascii()
        case Refusal(status=status, detail=detail, headers=headers):
            assert 400 <= status < 600
            assert detail
            _sound_fields(headers)


def _sound_want(ecosystem: Ecosystem, want: Want) -> None:
    assert want.ref.ecosystem == ecosystem.name
    assert normalise_upstream(want.ref.upstream) == want.ref.upstream
    assert want.name
    url = urlsplit(want.url)
    assert want.url.isascii()
    assert want.url.isprintable()
    assert " " not in want.url
    assert not {".", ".."} & set(url.path.split("/")), "it stays where it is"
    assert "@" not in url.netloc
    assert not url.fragment
    assert all("@" not in host for host in want.hosts)
    if want.mutable or not want.hosts:
        assert want.url.startswith(want.ref.upstream)
    else:  # a file may lie elsewhere, where its index says
        assert authority(want.url) in (authority(want.ref.upstream), *want.hosts)
    assert all(_TOKEN.fullmatch(name) and name == name.lower() for name in want.keeps)
    _sound_fields(want.headers)


def _sound_page(page: Page) -> None:
    assert _VALUE.fullmatch(page.media_type)
    assert 200 <= page.status < 600
    _sound_fields(page.headers)


def _sound_fields(fields: Fields) -> None:
    for name, value in fields:
        assert _TOKEN.fullmatch(name), name
        assert _VALUE.fullmatch(value), value
