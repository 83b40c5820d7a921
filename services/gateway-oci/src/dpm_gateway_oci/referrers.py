"""What refers to a manifest: signatures, bills of materials and the like, as an image index.

https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#listing-referrers
"""

import json
from typing import Any

from dpm_core.ecosystem import Page
from dpm_core.errors import Invalid

IMAGE_INDEX = "application/vnd.oci.image.index.v1+json"

FILTERS_APPLIED = "OCI-Filters-Applied"


def no_referrers(artifact_type: str) -> Page:
    """The answer for what nothing refers to, which a registry with this API never answers by 404."""
    return _page({"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": []}, artifact_type)


def referrers(body: bytes, artifact_type: str) -> Page:
    """An image index, with only those referrers left in that are of ``artifact_type``, unless that is empty.

    Of what is under the tag of referrers and is no image index the specification says that nothing refers to it.
    Raises Invalid for what is no JSON.
    """
    try:
        index = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"referrers are told as JSON, and this is none: {error}") from error
    if not _is_index(index):
        return no_referrers(artifact_type)
    if not artifact_type:
        return Page(IMAGE_INDEX, body)
    kept = [each for each in index["manifests"] if _has_type(each, artifact_type)]
    return _page({**index, "manifests": kept}, artifact_type)


def _is_index(index: Any) -> bool:
    return (
        isinstance(index, dict)
        and index.get("mediaType", IMAGE_INDEX) == IMAGE_INDEX
        and isinstance(index.get("manifests"), list)
    )


def _has_type(descriptor: Any, artifact_type: str) -> bool:
    return isinstance(descriptor, dict) and descriptor.get("artifactType") == artifact_type


def _page(index: dict[str, Any], artifact_type: str) -> Page:
    headers = ((FILTERS_APPLIED, "artifactType"),) if artifact_type else ()
    return Page(IMAGE_INDEX, json.dumps(index, separators=(",", ":")).encode(), headers)
