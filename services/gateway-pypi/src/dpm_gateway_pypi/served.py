"""What a node with given settings serves, and where on it something of an upstream is."""

from collections.abc import Iterator

from dpm_core.errors import Invalid
from dpm_gateway_pypi.ecosystem import PyPI
from dpm_gateway_pypi.filenames import candidates, normalise
from dpm_gateway_pypi.indexes import Index
from dpm_gateway_pypi.links import link
from dpm_gateway_pypi.plugin import upstream
from dpm_runtime.ecosystem_settings import NO_UPSTREAM
from dpm_runtime.index_settings import PyPISettings
from dpm_runtime.machine import environment
from dpm_runtime.settings import Settings


def ecosystem(settings: Settings) -> PyPI:
    """The ecosystem of the indexes that are set; the default one may be what this machine's pip uses.

    Raises Invalid.
    """
    return PyPI(indexes(settings), fresh_for=settings.index_fresh_seconds, limit=settings.index_limit_bytes)


def indexes(settings: Settings) -> Iterator[Index]:
    """The indexes that are set, the default one first. Raises Invalid."""
    own = settings.of(PyPISettings)
    if own.upstream != NO_UPSTREAM:
        yield Index(upstream(settings, environment()), lists=own.project_list)
    for name, index in own.indexes.items():
        yield Index(index.upstream, name, owns=index.owns, lists=index.project_list, private=index.private)


def paths(settings: Settings, what: str) -> Iterator[str]:
    """The paths on this node of ``what``: a URL of upstream, a page's or a file's, or the name of a project.

    The likeliest first; none for anything else. Raises Invalid as :func:`indexes` does, and for the bare name of a
    file, which says nothing of where it lies.
    """
    served = list(indexes(settings))
    likely = candidates(what)
    if likely:
        raise Invalid(f"{what} is the name of a file: give its URL, or its project: {likely[0]}")
    project = normalise(what)
    if project is not None:
        yield from (f"{index.path}{project}/" for index in served)
        return
    for index in served:
        if what.startswith(index.upstream):
            yield index.path + what.removeprefix(index.upstream).rstrip("/") + "/"
    file = link("", what)
    if file is not None and candidates(file.path.rpartition("/")[2]):
        yield from (f"{index.path}files/{file.spelt}" for index in served)
