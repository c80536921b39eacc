"""Templates are read as Jinja reads them, and any text ends in an answer or an error of ours."""

from __future__ import annotations

import contextlib

import jinja2
import jinja2.nodes
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from veracity.core.errors import EvidenceError, ResourceLimitError
from veracity.observe.jinja.lexer import NotATemplateError
from veracity.observe.jinja.reach import reaches
from veracity.observe.jinja.statements import parse_template

PIECES = (
    *("{{", "}}", "{%", "%}", "{#", "#}", "-", "x", "y.z", "'a'", '"b"', "1", "2.5", "(", ")", "[", "]"),
    *(
        "{",
        "}",
        ":",
        ",",
        "|",
        "~",
        "+",
        " if ",
        " else ",
        " in ",
        " not ",
        " is ",
        "for ",
        "set ",
        "=",
        "==",
    ),
    *("endfor", "text", " ", "\n", "**", "upper", "attr", "defined", "\\x5f", "__class__", "and", "or"),
)
TEXTS = st.lists(st.sampled_from(PIECES), max_size=24).map("".join)
OPERATORS = st.sampled_from([" + ", " ~ ", " and ", " == ", " in ", " % ", " ** "])
EXPRESSIONS = st.recursive(
    st.sampled_from(["x", "1", "'a'", "none", "x.y", "x['k']", "x[1:2]", "f(x, k=1)", "[1, 2]", "{'a': x}"]),
    lambda inner: st.one_of(
        st.tuples(inner, OPERATORS, inner).map("".join),
        inner.map(lambda one: f"({one})"),
        inner.map(lambda one: f"({one})|join(', ')"),
        inner.map(lambda one: f"({one}) is not none"),
        inner.map(lambda one: f"not {one}"),
        st.tuples(inner, inner, inner).map(lambda three: f"{three[0]} if ({three[1]}) else {three[2]}"),
    ),
    max_leaves=8,
)  # fmt: skip


@given(TEXTS)
@settings(max_examples=examples(200), deadline=None)
def test_any_text_gives_an_answer_or_an_error_of_ours(text: str) -> None:
    with contextlib.suppress(EvidenceError):
        reaches(text, "t")


@given(EXPRESSIONS)
@settings(max_examples=examples(200), deadline=None)
def test_what_jinja_takes_is_taken(expression: str) -> None:
    text = f"{{{{ {expression} }}}}{{% if {expression} %}}a{{% endif %}}{{% set v = {expression} %}}"
    try:
        jinja2.Environment().parse(text)
    except jinja2.TemplateSyntaxError:
        return
    assert parse_template(text, "t").expressions


@given(TEXTS)
@settings(max_examples=examples(200), deadline=None)
def test_an_attribute_that_jinja_sees_is_seen(text: str) -> None:
    text = f"{{{{ a.b }}}}{text}{{{{ x.__class__ }}}}"
    try:
        tree = jinja2.Environment(extensions=["jinja2.ext.do"]).parse(text)
    except jinja2.TemplateSyntaxError:
        return
    seen = any(node.attr == "__class__" for node in tree.find_all(jinja2.nodes.Getattr))

    assert any(reach.text == "__class__" for reach in reaches(text, "t")) or not seen


def test_bounds_are_met_with_an_error() -> None:
    with pytest.raises(ResourceLimitError):
        reaches("{{ " + "(" * 500 + "x" + ")" * 500 + " }}", "t")
    with pytest.raises(ResourceLimitError):
        reaches("{{ a }}" * 1_000_000, "t")
    chain = "{{ x" + "['a' ~ 'b']" + "|lower" * 5_000 + " ~ y" * 10_000 + ".z()" * 5_000 + " }}"
    assert {one.kind for one in reaches(chain, "t")} <= {"computed"}
    with pytest.raises(NotATemplateError):
        reaches("{{ 'a" + "\\" * 1001 + " }}", "t")
    assert (
        reaches("{% set a = 'x' %}" + "{% set a = a ~ a %}" * 300 + "{{ x[a] }}", "t")[0].kind == "computed"
    )
