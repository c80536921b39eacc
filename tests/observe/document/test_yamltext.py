"""YAML is composed as PyYAML composes it: the same texts are taken, with the same values and tags."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.examples import examples
from veracity.core.errors import EvidenceError, ResourceLimitError
from veracity.observe.document.value import Fields, Value
from veracity.observe.document.yamlscalars import NotYamlError
from veracity.observe.document.yamltext import parse_yaml

PIECES = (
    *("a", "b c", "- ", "? ", ": ", ":", "\n", "\n  ", "\n    ", "\n ", "  ", "'x'", '"y z"', "[", "]", "{"),
    *("}", ",", "!t ", "!!str ", "!!python/name:x ", "#c", " #c", "|\n  ", "> \n", "---\n", "&k ", "-1"),
    *("\t", "x: 1", "k: v", "- i", "'", '"', "a: ", "a:\n", "- a\n", " - b\n", "[x]", "? a\n: "),
    *("!<tag:yaml.org,2002:python/name:y> ", "%TAG ! tag:yaml.org,2002:python/\n---\n", '"\\x41\\\n b"'),
    *("\n- - a\n  - b", "- a: b\n  c: d\n", "\n  a: b\n  c:\n    - d\n", "{a: !!python/tuple [1]}"),
    "!!python/object/apply:os.getpid ",
)
TEXTS = st.lists(st.sampled_from(PIECES), max_size=10).map("".join)


def composed(text: str) -> list[object] | None:
    """The documents as PyYAML has them; None when it refuses the text."""
    try:
        return [of_node(node) for node in yaml.compose_all(text, Loader=yaml.SafeLoader)]
    except yaml.YAMLError:
        return None


def of_node(node: yaml.Node) -> object:
    if isinstance(node, yaml.SequenceNode):
        return [of_node(one) for one in node.value]
    if isinstance(node, yaml.MappingNode):
        return [
            ("" if not isinstance(key, yaml.ScalarNode) else of_node(key), of_node(one))
            for key, one in node.value
        ]
    return str(node.value).rstrip()


def tags_of(node: yaml.Node) -> set[str]:
    found = {str(node.tag)} if "python" in node.tag or node.tag.startswith("!") else set()
    if isinstance(node, yaml.SequenceNode):
        return found.union(*(tags_of(one) for one in node.value))
    if isinstance(node, yaml.MappingNode):
        return found.union(*(tags_of(one) for pair in node.value for one in pair))
    return found


def plain(value: Value) -> object:
    if isinstance(value, Fields):
        return [(key.rstrip(), plain(one)) for key, one in value.pairs]
    if isinstance(value, list):
        return [plain(one) for one in value]
    return value.rstrip() if isinstance(value, str) else ""


@given(TEXTS)
@example("a:\n|\n  text\nb: !!python/name:x\n")
@example("'x'#comment\n")
@example("a: b\n  !!python/name:x\n")
@example("&a\n!t x: 1\ny: 2\n")
@settings(max_examples=examples(400), deadline=None)
def test_what_pyyaml_takes_is_taken_and_no_tag_is_missed(text: str) -> None:
    try:
        nodes = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except yaml.YAMLError:
        return
    documents = list(parse_yaml(text, "x"))
    wanted = set().union(*(tags_of(node) for node in nodes if node is not None))

    assert wanted <= {tag.name for document in documents for tag in document.tags}


KEYS = st.text("ab c-:#", min_size=1)
VALUES = st.recursive(
    st.text("ab:#-?!&*{}[]|>'\" \n%@`,", max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(VALUES, st.booleans(), st.sampled_from([None, '"', "'", "|", ">"]))
@settings(max_examples=examples(200), deadline=None)
def test_what_pyyaml_writes_is_read_back(value: object, flow: bool, style: str | None) -> None:
    text = yaml.safe_dump(value, default_flow_style=flow, default_style=style, sort_keys=False)
    if style == ">":  # lines of a folded text are not put together
        assert list(parse_yaml(text, "x"))
        return
    assert [plain(document.root) for document in parse_yaml(text, "x")] == composed(text)


@given(st.text(max_size=60))
@settings(max_examples=examples(200), deadline=None)
def test_any_text_ends_in_documents_or_an_error_of_ours(text: str) -> None:
    try:
        list(parse_yaml(text, "x"))
    except EvidenceError:
        return


@pytest.mark.parametrize(
    "text",
    [
        "a: b: c",
        "text\nmore: text",
        "`a`",
        "@a",
        "a:\n\tb: c",
        "[a, b",
        "{a: b]",
        "- a\nb: c",
        "a: 'b",
        "a: 'b' c",
        "*unknown",
        "!e!x a",
        "a: !!str b: c",
        "a: - b",
        "  a: b\nc: d",
        "\x00",
        "%TAG\n---\na",
    ],
)
def test_what_pyyaml_refuses_is_refused(text: str) -> None:
    assert composed(text) is None
    with pytest.raises(NotYamlError):
        list(parse_yaml(text, "x"))


def test_depth_and_what_aliases_unfold_to_are_bounded() -> None:
    with pytest.raises(ResourceLimitError):
        list(parse_yaml("[" * 200, "x"))
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True):
        bomb += f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    with pytest.raises(ResourceLimitError, match="unfolds"):
        list(parse_yaml(bomb, "x"))
