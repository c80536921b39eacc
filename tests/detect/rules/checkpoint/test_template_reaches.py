"""Templates that leave what they were given, and the chat templates of models."""

from __future__ import annotations

import pytest

from tests.scan.gating import gated, is_clean, rules

FOUND = "checkpoint-template-reaches"
HOSTILE = [
    "{{ cycler.__init__.__globals__ }}",
    "{% for c in messages %}{{ ''['__class__'] }}{% endfor %}",
    "{{ x['__cla' ~ 'ss__'] }}",
    "{% set a = '__cla' %}{% set b = 'ss__' %}{{ x[a + b] }}",
    "{{ x|attr('\\x5f\\x5fclass\\x5f\\x5f') }}",
    "{{ x|attr(['__', 'class', '__']|join) }}",
    "{{ x['__ssalc__'[::-1]] }}{{ x['__ssalc__'|reverse] }}",
    "{{ messages|map(attribute='content.__class__')|list }}",
    "{{ messages|map('attr', '__class__')|list }}",
    "{{ messages|selectattr('__class__')|list }}",
    "{% filter attr('__class__') %}text{% endfilter %}",
    "{% set f = '{0.__class__}'.format %}{{ f(x) }}",
    "{{ '{0.__class__}'.format(x) }}",
    "{{ '{a[__class__]}'.format_map(x) }}",
    "{% macro f(a, b) %}{{ x[a ~ b] }}{% endmacro %}{{ f('__cla', 'ss__') }}",
    "{{ self._TemplateReference__context }}",
    "{{ (lambda_generator).gi_frame.f_back }}",
    "{% set ns = namespace(key='__init__') %}{{ x[ns.key] }}",
    "{{ x['__%s__' % 'class'] }}{# {{ a }} #}",
    "{%- if messages -%}{{- raise_exception.__globals__ -}}{%- endif -%}",
    "{{ x['_' * 2 ~ 'class' ~ '_' * 2] }}",
    "{{ ('__class__,a'.split(',')[0]) and x['__class__,a'.split(',')[0]] }}",
]
COMPUTED = [
    "{% set ns = namespace(s='') %}{% for c in 'abc' %}{% set ns.s = ns.s ~ c %}{% endfor %}{{ x[ns.s] }}",
    "{{ x[messages[0].content ~ 'a'] }}",
    "{{ x|attr(messages[0].content) }}",
    "{% set k %}class{% endset %}{{ x[k] }}",
    "{% include 'other.jinja' %}",
]
CHAT = [
    # In the manner of those that models have.
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] "
    "+ '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>x\\n' }}{% endif %}",
    "{{- bos_token }}\n{%- if tools is not none and tool_choice is defined %}\n{%- set date_string = "
    "strftime_now('%d %b %Y') %}{%- endif %}{%- set system_message = messages[0]['content']|trim %}"
    "{%- set messages = messages[1:] %}{{- system_message }}{{- tools | tojson(indent=4) }}",
    "{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}"
    "{%- for message in messages[::-1] %}{%- set index = (messages|length - 1) - loop.index0 %}"
    "{%- if ns.multi_step_tool and message.role == 'user' and not (message.content.startswith('<x>') and "
    "message.content.endswith('</x>')) %}{%- set ns.multi_step_tool = false %}"
    "{%- set ns.last_query_index = index %}{%- endif %}{%- endfor %}{{ messages[ns.last_query_index] }}",
    "{%- macro render(value, depth=0) -%}{%- if value is mapping -%}{%- for k, v in value|items -%}"
    "{{ k }}: {{ render(v, depth + 1) }}{%- endfor -%}{%- else -%}{{ value }}{%- endif -%}{%- endmacro -%}"
    "{%- for m in messages -%}{% generation %}{{ render(m['content']) }}{% endgeneration %}{%- endfor -%}",
    "{% if (messages[0]['role'] == 'user') != (loop is defined and loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate user/assistant/…') }}{% endif %}",
    "You can define `__init__` and `__globals__`. {{ 'Never use __import__ or __class__.' }} {# __x__ #}",
    "{% set content = message['content'].split('</think>')[-1].lstrip('\\n') %}{{ content }}"
    "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join(', ') }}",
    "{% raw %}{{ x.__class__ }}{% endraw %}{{ '%s: %s' | format(message.role, message.content) }}",
    "{% set names = {'user': 'U'} %}{{ names[message['role'] | lower] }}{{ names['us' ~ 'er'] }}",
    "{{ {'a': {'b': 1}}['a']['b'] }}{{ '}}' }}{% if not x in [1, 2,] %}{{ x ** 2 // 3 }}{% endif %}",
]


def in_config(template: str) -> dict[str, object]:
    return {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": template}


@pytest.mark.parametrize("template", HOSTILE)
def test_python_s_own_names_are_found_however_they_are_written(template: str) -> None:
    assert f"{FOUND} error" in rules(in_config(template))
    assert f"{FOUND} error" in rules(template, "chat_template.jinja")


@pytest.mark.parametrize("template", COMPUTED)
def test_what_cannot_be_known_is_a_warning(template: str) -> None:
    assert set(rules(in_config(template))) == {f"{FOUND} warning"}


@pytest.mark.parametrize("template", CHAT)
def test_ordinary_chat_templates_are_clean(template: str) -> None:
    assert is_clean(in_config(template))
    assert is_clean(template, "model/chat_template.jinja")


def test_each_of_several_templates_is_read() -> None:
    hostile = HOSTILE[0]
    assert rules({"_type": "prompt", "template_format": "jinja2", "template": hostile}) == rules(
        {"chat_template": hostile}
    )
    for several in ([{"name": "default", "template": hostile}], {"rag": hostile}, [CHAT[0], hostile]):
        assert f"{FOUND} error" in rules({"chat_template": several})


def test_a_template_that_jinja_would_refuse_is_not_called_clean() -> None:
    assert gated(in_config("{% for x in %}")).status == "incomplete"
    assert gated(in_config("{{ a.b")).status == "incomplete"


def test_pages_of_a_site_may_load_each_other_and_describe_things() -> None:
    page = "{% extends 'base.html' %}{% from 'forms.html' import field with context %}{{ item.__name__ }}"

    assert is_clean(page, "page.html.j2")
    assert rules("{{ item.__globals__ }}", "page.html.j2") == [f"{FOUND} error"]
    assert rules("{% include '/etc/hosts' %}", "page.html.j2") == [f"{FOUND} warning"]
    assert is_clean("{{ .Values.name | quote }}\n{{- end }}", "chart.yaml")


def test_a_finding_says_under_which_key_and_in_which_line() -> None:
    (found,) = gated(in_config("a\nb {{ x.__globals__ }}"), "tokenizer_config.json").findings

    assert "under chat_template reaches for __globals__" in found.message
    assert found.evidence[0].name == "line 2 of the template"
