"""A bill of materials of a Python environment: CycloneDX 1.6, JSON (https://cyclonedx.org/docs/1.6/json/).

The same environment gives the same bytes: there is no time, no serial number and no path of a machine in it.
"""

from __future__ import annotations

import json
from urllib.parse import quote

from .. import __version__
from ..core.packagename import normalised
from ..observe.packages import Environment, Package

SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
_ALGORITHMS = {"sha256": "SHA-256", "sha384": "SHA-384", "sha512": "SHA-512"}
_SUBJECT = "python"


def bill(environment: Environment, version: str) -> str:
    """The document; ``version`` is the interpreter's, such as ``3.11``, or empty.

    What could not be read cannot be named in it: then the document says that it is incomplete.
    """
    seen: set[str] = set()
    subject = {"type": "platform", "bom-ref": _SUBJECT, "name": "python"}
    body: dict[str, object] = {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "veracity", "version": __version__}]},
            "component": subject | ({"version": version} if version else {}),
        },
        "components": [_component(package, seen) for package in environment.packages],
    }
    if environment.unread:
        body["compositions"] = [{"aggregate": "incomplete", "assemblies": [_SUBJECT]}]
    return json.dumps(body, ensure_ascii=True, indent=2) + "\n"


def package_url(package: Package) -> str:
    """``pkg:pypi/name@version``; empty for what comes from a folder, which no index vouches for."""
    if package.origin.kind in ("directory", "editable"):
        return ""
    name = package.name.lower().replace("_", "-")  # the rule of that scheme: points stay
    url = f"pkg:pypi/{quote(name, safe='-._~')}@{quote(package.version, safe='-._~')}"
    if package.origin.kind == "vcs" and package.origin.url:
        commit = f"@{package.origin.commit}" if package.origin.commit else ""
        url += f"?vcs_url={quote(package.origin.url + commit, safe='-._~:/')}"
    return url


def _component(package: Package, seen: set[str]) -> dict[str, object]:
    url, origin = package_url(package), package.origin
    reference = first = url or f"{normalised(package.name)}@{package.version}"
    number = 1
    while reference in seen:  # the same distribution in two directories of the path
        number += 1
        reference = f"{first}#{number}"
    seen.add(reference)
    component: dict[str, object] = {
        "type": "library",
        "bom-ref": reference,
        "name": package.name,
        "version": package.version,
    }
    hashes = [{"alg": _ALGORITHMS[algorithm], "content": digest} for algorithm, digest in origin.hashes]
    if hashes:
        component["hashes"] = hashes
    if package.expression:
        component["licenses"] = [{"expression": package.expression, "acknowledgement": "declared"}]
    elif package.licences:
        component["licenses"] = [
            {"license": {"name": name, "acknowledgement": "declared"}} for name in package.licences
        ]
    if url:
        component["purl"] = url
    if origin.url:
        kind = "vcs" if origin.kind == "vcs" else "distribution"
        component["externalReferences"] = [{"type": kind, "url": origin.url}]
    properties = []
    if origin.kind:
        properties.append({"name": "veracity:installed-from", "value": origin.kind})
    if package.record:
        properties.append({"name": "veracity:record-sha256", "value": package.record})
    if properties:
        component["properties"] = properties
    return component
