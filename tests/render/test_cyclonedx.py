"""The bill of materials before the official schema, and what it says of each package."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator, FormatChecker
from referencing import Registry, Resource

from tests.examples import examples
from veracity.observe.packages import Environment, Origin, Package
from veracity.render.cyclonedx import bill, package_url

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "cyclonedx"


def validator() -> Draft7Validator:
    schemas = {path.name: json.loads(path.read_text("utf-8")) for path in VECTORS.glob("*.json")}
    resources = [
        (f"http://cyclonedx.org/schema/{name}", Resource.from_contents(value))
        for name, value in schemas.items()
    ]
    registry: Registry[Any] = Registry().with_resources(resources)
    return Draft7Validator(
        schemas["bom-1.6.SNAPSHOT.schema.json"], registry=registry, format_checker=FormatChecker()
    )


OFFICIAL = validator()
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
ORIGINS = st.builds(
    Origin,
    st.sampled_from(["", "archive", "vcs", "directory", "editable"]),
    st.sampled_from(["", "https://host.example/a%20b", "git+ssh://host.example/r.git"]),
    st.sampled_from(["", "c" * 40]),
    st.sampled_from([(), (("sha256", "a" * 64),), (("sha256", "a" * 64), ("sha512", "b" * 128))]),
)
PACKAGES = st.builds(
    Package,
    TEXTS,
    TEXTS,
    st.sampled_from(["", "MIT OR Apache-2.0"]),
    st.lists(TEXTS, max_size=2, unique=True).map(tuple),
    ORIGINS,
    st.sampled_from(["", "d" * 64]),
)


def plain(name: str = "Some_Net.x", version: str = "1.0+cpu", **fields: Any) -> Package:
    return Package(
        name, version, **{"expression": "", "licences": (), "origin": Origin(), "record": "", **fields}
    )


def test_the_schema_is_the_one_that_is_written_down() -> None:
    page = (VECTORS / "README.md").read_text("utf-8")
    stated = dict(re.findall(r"\| `(\S+\.json)` \| `([0-9a-f]{64})` \|", page))
    assert stated == {path.name: sha256(path.read_bytes()).hexdigest() for path in VECTORS.glob("*.json")}
    assert len(stated) == 3


def test_the_schema_refuses_what_is_wrong() -> None:
    document = json.loads(bill(Environment((plain(),), ()), "3.11"))
    OFFICIAL.validate(document)
    document["components"][0]["licenses"] = [{"license": {}}]
    assert not OFFICIAL.is_valid(document)


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(PACKAGES, max_size=3), st.booleans(), st.sampled_from(["", "3.11"]))
def test_every_bill_is_valid_and_the_same_twice(found: list[Package], lost: bool, version: str) -> None:
    environment = Environment((*found, *found[:1]), ("x",) if lost else ())
    text = bill(environment, version)
    assert bill(environment, version) == text
    document = json.loads(text)
    OFFICIAL.validate(document)
    references = [one["bom-ref"] for one in document["components"]]
    assert len(set(references)) == len(references) == len(found) + bool(found)
    assert ("compositions" in document) == lost


def test_no_two_references_are_one() -> None:
    folder = Origin("directory")
    found = [plain("n", version, origin=folder) for version in ("1", "1", "1#2", "1")]
    document = json.loads(bill(Environment(tuple(found), ()), ""))
    assert len({one["bom-ref"] for one in document["components"]}) == 4


def test_what_is_said_of_a_package() -> None:
    archive = Origin("archive", "https://host.example/a.whl", "", (("sha256", "a" * 64),))
    document = json.loads(
        bill(Environment((plain(origin=archive, licences=("BSD",), record="d" * 64),), ()), "3.11")
    )
    assert document["components"] == [
        {
            "type": "library",
            "bom-ref": "pkg:pypi/some-net.x@1.0%2Bcpu",
            "name": "Some_Net.x",
            "version": "1.0+cpu",
            "hashes": [{"alg": "SHA-256", "content": "a" * 64}],
            "licenses": [{"license": {"name": "BSD", "acknowledgement": "declared"}}],
            "purl": "pkg:pypi/some-net.x@1.0%2Bcpu",
            "externalReferences": [{"type": "distribution", "url": "https://host.example/a.whl"}],
            "properties": [
                {"name": "veracity:installed-from", "value": "archive"},
                {"name": "veracity:record-sha256", "value": "d" * 64},
            ],
        }
    ]


@pytest.mark.parametrize("kind", ["directory", "editable"])
def test_what_comes_from_a_folder_is_not_said_to_be_the_indexs(kind: str) -> None:
    package = plain(origin=Origin(kind))
    assert package_url(package) == ""
    assert "purl" not in json.loads(bill(Environment((package,), ()), ""))["components"][0]


def test_a_commit_is_in_the_package_url() -> None:
    package = plain("n", "1", origin=Origin("vcs", "git+https://host.example/r.git", "c" * 40))
    assert package_url(package) == f"pkg:pypi/n@1?vcs_url=git%2Bhttps://host.example/r.git%40{'c' * 40}"


def test_another_projects_validator_and_package_urls_agree() -> None:
    """With cyclonedx-python-lib, where it is installed."""
    json_validation = pytest.importorskip(
        "cyclonedx.validation.json", reason="cyclonedx-python-lib is not installed"
    )
    schema = pytest.importorskip("cyclonedx.schema")
    package_urls = pytest.importorskip("packageurl")
    found = (plain(), plain("b", origin=Origin("vcs", "git+https://host.example/r.git", "c" * 40)))
    text = bill(Environment(found, ()), "3.11")
    assert json_validation.JsonStrictValidator(schema.SchemaVersion.V1_6).validate_str(text) is None
    for package in found:
        url = package_url(package)
        assert package_urls.PackageURL.from_string(url).to_string() == url
