"""A document asks its loader for something that is not data.

## The law

Load: nothing that can execute is loaded. A configuration names classes to build and values to give them, and
nothing that runs programs, opens connections, or opens and changes files.

## What breaks it

``_target_: subprocess.run`` in a Hydra configuration, ``!!python/object/apply:os.system`` in YAML,
``{"py/reduce": [{"py/function": "os.system"}, …]}`` for jsonpickle: the loader imports the name and calls it
while it makes objects of the document.

## How it is checked

Each document is read as its loaders read it, and the names that they would import are compared with those
that are known to do harm, as for pickles. What runs programs or text as code is an error. Of classes and
functions of a project's own nothing is known and nothing is said, but in YAML and jsonpickle, where a name
that is called, or a module, is a warning unless it belongs to a library of data: no plain configuration has
any.

## What fools it

A function of an installed library that does harm with honest looks. Resolvers and tags that a program
registers for itself.

## What to do

Do not load the document. Look who wrote the line. Load YAML with ``yaml.safe_load``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import NameAsked, Observation
from ....core.pickled import SENTENCES
from ....core.rule import Confidence, Rule, Severity
from .asking import danger, full_name, weight

_VERBS = {"called": "calls", "built": "makes an object of", "imported": "imports"}
_PICKLE_LIKE = ("pyyaml", "jsonpickle", "skops", "snakeyaml", "psych")
# Libraries whose classes stand for data in documents that people keep: settings, numbers, paths, layers.
_DATA = re.compile(
    r"(builtins|collections|datetime|decimal|fractions|pathlib|uuid|enum|argparse|types|ipaddress|zoneinfo|copyreg"
    r"|_codecs|torch|torchvision|torchaudio|numpy|pandas|scipy|sklearn|xgboost|lightgbm|transformers|accelerate"
    r"|lightning|pytorch_lightning|lightning_fabric|omegaconf|tokenizers|datasets|speechbrain)"
    r"(\.|\Z)"
)


class NamesHarm:
    """One finding for each name of a document."""

    rule: ClassVar[Rule] = Rule(
        "checkpoint-names-harm",
        "load",
        "A document asks its loader for something that is not data",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (NameAsked,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "names")

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge one name."""
        if not isinstance(observation, NameAsked) or observation.way == "code":
            return
        self._coverage.count(checked=True)
        one, name = observation, full_name(observation)
        found = danger(one)
        if found is not None:
            severity, sure = weight(one, found)
            why = SENTENCES[found]
        elif one.loader in _PICKLE_LIKE and one.way != "imported" and not _DATA.match(f"{one.module}."):
            severity, sure = Severity.WARNING, Confidence.MEDIUM
            why = "belongs to no library that is known for data"
        elif one.loader == "pyyaml" and not one.attribute and not _DATA.match(f"{one.module}."):
            severity, sure = Severity.WARNING, Confidence.MEDIUM
            why = "is a module, and to import one executes it"
        else:
            return
        yield finding_of(
            self.rule,
            one.name,
            f"{one.name} has {one.loader} load {name}, which {why}",
            locations=(Location(one.name),),
            evidence=(Evidence(one.where or "the document", observed=f"{_VERBS[one.way]} {name}"),),
            severity=severity,
            confidence=sure,
        )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Names that documents ask for."""
        return self._coverage
