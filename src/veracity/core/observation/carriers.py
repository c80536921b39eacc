"""What files that are no pickles ask their readers for: names to import, templates, operators, files.

In all of them ``name`` is the file, and behind each ``!`` what lies inside it; ``where`` is the place in it,
as its format names places (``text_config.auto_map.AutoModel``, ``line 12``, ``graph.node[3]``).
"""

from __future__ import annotations

from dataclasses import dataclass

from .root import Observation


@dataclass(frozen=True, slots=True)
class FormatRuleBroken(Observation):
    """A rule of its format that a file breaks, though readers may take it.

    ``effect``: ``ambiguous`` (two readers see different things), ``hidden`` (there are bytes that no reader
    of the format looks at) or ``refused`` (the format's own reader does not take it, another may).
    """

    name: str
    format: str
    effect: str
    what: str


@dataclass(frozen=True, slots=True)
class NameAsked(Observation):
    """A document gives its loader the name of something to import.

    ``loader``: who reads such documents (``transformers``, ``hydra``, ``pyyaml``, …). ``way``: ``called``
    (the loader calls it), ``built`` (makes an object of the class without calling it), ``imported`` (imports
    the module, or takes the name from it, and no more) or ``code`` (executes a file that lies beside the
    document or in the repository ``repository``). ``module`` and ``attribute`` are what is asked for;
    ``module`` may be empty, when the loader finds it by other means.
    """

    name: str
    where: str
    loader: str
    way: str
    module: str
    attribute: str
    repository: str = ""


@dataclass(frozen=True, slots=True)
class TemplateReach(Observation):
    """An expression of a Jinja template that leaves the values it was given.

    ``reach``: ``internal`` (an attribute of Python's own, such as ``__globals__``), ``format`` (the same
    inside a format string), ``computed`` (the name of an attribute is put together while the template runs)
    or ``file`` (another template is loaded). ``text`` is that name. ``chat``: it is a chat template, which
    is rendered with a program's messages and nothing else.
    """

    name: str
    where: str
    line: int
    reach: str
    text: str
    chat: bool


@dataclass(frozen=True, slots=True)
class CodeCarried(Observation):
    """A document brings code that its loader makes a function of.

    ``form``: ``bytecode`` (marshalled), ``pickle``, ``source`` or ``expression``. ``text``: its beginning.
    """

    name: str
    where: str
    loader: str
    form: str
    text: str


@dataclass(frozen=True, slots=True)
class FileAsked(Observation):
    """A document has its loader open another file; ``path`` is what it says."""

    name: str
    where: str
    loader: str
    path: str


@dataclass(frozen=True, slots=True)
class OperatorAsked(Observation):
    """A graph holds an operator, which its loader executes.

    ``format``: ``onnx`` or ``tensorflow``. ``domain``: in ONNX, who defines it; empty for the standard's own.
    ``how``: ``function`` when the model defines it by other operators, ``fixed`` when the path that it works
    on stands in the graph, ``address`` when it prints to an address there, else empty.
    """

    name: str
    where: str
    format: str
    domain: str
    operator: str
    how: str
