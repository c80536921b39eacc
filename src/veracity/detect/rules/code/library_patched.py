"""Something of a library of training, or of an object's class, is replaced.

## The law

What is called by a library's name is the library's: `torch.optim.AdamW.step` does what torch's own text
says.

## What breaks it

`torch.Tensor.backward = mine`, `setattr(torch.optim.Adam, "step", f)`, `F.cross_entropy = lambda …`, a
function's `__code__` exchanged, an optimizer's `step` replaced on the instance, a module put into
`sys.modules` in the place of another: the training script still reads as before, and something else is
computed.

## How it is checked

Assignments to attributes are followed through imports, aliases, `getattr`, `setattr`, `vars()`, `__dict__`
and `sys.modules`. What decides a gradient, an update, an order, a random number, a save or a load counts as
an error; other parts of a library are for auditors, since wrapping them is widespread. Settings
(`torch.backends…`), old names given back to numpy, and what a library does to its own parts are not told of
every day.

## What fools it

A replacement made by compiled code, or through a reference that the text does not show to be a library's.

## What to do

Ask why the function is replaced, and compare the replacement with the original. Where it is wanted, say so
in the file (a suppression with its reason) and let the laws of a run check what it computes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from ....core.finding import Finding
from ....core.observation import SourceFact, SourceRead
from ....core.rule import Confidence, Rule, Severity
from .reading import LAW, SourceDetector, facts, in_change, selective, serves_others, when

_DECIDES = re.compile(
    r"""(?x)
    torch\.optim\..*(?:step|adam|sgd|rmsprop|Optimizer|__init__|get_lr|_last_lr|__call__|zero_grad).*
    | torch\.autograd\.(?:backward|grad)\b.*
    | torch\.(?:Tensor|_tensor\.Tensor)\.(?:item|detach|float|mean|sum|requires_grad_)
    | torch\.(?:Tensor|_tensor\.Tensor)\.__(?:i?mul|i?add|i?sub|neg)__
    | torch\.utils\.tensorboard\.(?:\w+\.)*add_scalars?
    | torch\.(?:Tensor|_tensor\.Tensor)\.(?:backward|register_hook|grad|add_|mul_|sub_|addcdiv_|lerp_|step)
    | torch\.nn\.utils\.(?:clip_grad\.)?clip_\w+
    | torch\.(?:random\.)?(?:manual_seed|seed|set_rng_state|get_rng_state)
    | torch\.cuda\.(?:manual_seed\w*|set_rng_state\w*) | torch\.utils\.data\..+
    | torch\.distributed\.(?:all_reduce|reduce|broadcast|barrier|all_gather\w*|reduce_scatter\w*)
    | torch\.distributed\.(?:get_rank|get_world_size)
    | torch\.nn\.(?:functional\.)?(?:cross_entropy|nll_loss|mse_loss|dropout\w*|binary_cross_entropy\w*)
    | torch\.nn\.(?:functional\.)?(?:l1_loss|kl_div) | torch\.nn\.\w*Loss\.\w+
    | torch\.nn\.Module\.(?:__call__|zero_grad|parameters|state_dict|load_state_dict|train|eval|_call_impl)
    | torch\.(?:rand\w*|randperm|bernoulli|save|load|normal|where) | torch\.serialization\.(?:save|load)
    | torch\.(?:cuda\.)?amp\..+ | torch\.nn\.parallel\..*(?:forward|__init__|reducer)
    | numpy\.random\.\w+ | numpy\.load | random\.(?!Random\b)\w+ | pickle\.\w+ | _pickle\.\w+
    | builtins\.(?:exec|eval|compile|open|__import__|hash|sum|float)
    | time\.(?:time|sleep|perf_counter|monotonic)
    | (?:transformers|accelerate|lightning|pytorch_lightning|deepspeed|trl|peft|apex)\.(?:.*\.)?
      (?:\w*step|backward|clip\w*|\w*loss|train|save\w*|load\w*|forward|set_seed|seed_everything|AdamW?|get_\w+)
    | sklearn\..*(?:fit|partial_fit|check_random_state|_fit)
    """
)
# What an update or a gradient is: a package that replaces it as soon as it is imported does so for everybody.
_UPDATES = re.compile(
    r"torch\.optim\.(?!lr_scheduler).*\.(?:step|zero_grad|add_param_group)|torch\.(?:_tensor\.)?Tensor\.backward"
    r"|torch\.autograd\.(?:backward|grad)|torch\.nn\.utils\.(?:clip_grad\.)?clip_grad_\w+"
)
_SETTINGS = re.compile(
    r".*(?:\.backends\.|\.config\b|\.flags\b|\._dynamo\.|\._inductor\.|\.options\.|\.mp_policy|\.test)"
)
_SCHEDULES = re.compile(r".*(?:lr_scheduler|LRScheduler|Scheduler|LR)\.")
_MODULES = re.compile(
    r"torch(?:\.(?:optim(?:\.\w+)?|nn(?:\.functional|\.utils(?:\.clip_grad)?)?|autograd|utils\.data(?:\.\w+)?|distributed"
    r"|random|serialization|amp(?:\.\w+)?))?|numpy(?:\.random)?|random|time|pickle|_pickle"
    r"|transformers(?:\.trainer)?|accelerate|lightning|deepspeed|apex"
)
_PUT = ("function", "named", "value", "removed")


class LibraryPatched(SourceDetector):
    """One finding for each assignment."""

    rule: ClassVar[Rule] = Rule(
        "code-library-patched",
        LAW,
        "Code replaces a part of a library of training",
        Severity.ERROR,
        Confidence.MEDIUM,
    )

    def judge(self, read: SourceRead) -> Iterator[Finding]:
        """Judge what is replaced."""
        for fact in facts(read, "patch"):
            judged = getattr(self, f"_{fact.what}")(read, fact)
            if judged is not None:
                confidence, severity, what = judged
                yield self.tell(
                    read,
                    fact,
                    f"{what}: from here on{when(fact)} code of this file runs under that "
                    "name, and what it "
                    "computes is not what the library's text says",
                    confidence,
                    severity,
                )

    def _library(self, read: SourceRead, fact: SourceFact) -> tuple[Confidence, Severity, str] | None:
        name = fact.name
        if _SETTINGS.match(name) or (
            name.count(".") == 1 and name.startswith(("sys.", "os.", "logging.", "signal."))
        ):
            return None
        decides = fact.how in _PUT and bool(_DECIDES.fullmatch(name) or _SCHEDULES.match(name))
        what = f"{name} is {'removed' if fact.how == 'removed' else 'replaced'}"
        if name.partition(".")[0] == read.library:
            confidence = in_change(read) if decides and fact.how != "constant" else Confidence.LOW
            return confidence, Severity.WARNING, what
        if not decides:
            wide = selective(fact) or (name.startswith("torch.nn.") and fact.how == "function")
            return in_change(read) if wide and fact.how in _PUT else Confidence.LOW, Severity.WARNING, what
        if fact.how == "value" or fact.roles & {"test"}:
            return in_change(read), Severity.WARNING, what
        sure = selective(fact) or fact.trains or (not fact.scope and _UPDATES.fullmatch(name) is not None)
        return Confidence.HIGH if sure else Confidence.MEDIUM, Severity.ERROR, what

    def _method(self, read: SourceRead, fact: SourceFact) -> tuple[Confidence, Severity, str] | None:
        what = f"{fact.name} of one {fact.how} is replaced on the object"
        if fact.how == "model" or read.packaged or fact.roles & {"init"}:
            return (Confidence.MEDIUM if selective(fact) else Confidence.LOW), Severity.WARNING, what
        return Confidence.MEDIUM, Severity.ERROR if selective(fact) else Severity.WARNING, what

    def _object(self, read: SourceRead, fact: SourceFact) -> tuple[Confidence, Severity, str] | None:
        what = f"{fact.name} is exchanged"
        if fact.how in ("__class__", "__bases__"):
            optimizes = "optim" in fact.name.lower() or "loader" in fact.name.lower()
            sure = selective(fact) or (optimizes and not read.library)
            return (Confidence.MEDIUM if sure else Confidence.LOW), Severity.WARNING, what
        if fact.how in ("__defaults__", "__kwdefaults__") and not read.library:
            sure = _DECIDES.fullmatch(fact.name.partition(".__")[0]) is not None
            return (Confidence.MEDIUM if sure else Confidence.LOW), Severity.ERROR, what
        if fact.how == "__code__" and not read.library:
            # A package that compiles its own functions anew, when they are first called, is handed them.
            given = serves_others(read) and fact.name.count(".") == 1
            return Confidence.LOW if given else Confidence.HIGH, Severity.ERROR, what
        return (Confidence.MEDIUM if selective(fact) else Confidence.LOW), Severity.WARNING, what

    def _modules(self, read: SourceRead, fact: SourceFact) -> tuple[Confidence, Severity, str] | None:
        named = fact.name.partition("[")[2].rstrip("]").partition(".")[0]
        if not named:
            return Confidence.LOW, Severity.NOTE, f"{fact.name} is set"
        whole = fact.name.partition("[")[2].rstrip("]")
        trains = _MODULES.fullmatch(whole) is not None
        confidence = Confidence.MEDIUM if trains and named != read.library else Confidence.LOW
        return (
            confidence,
            Severity.ERROR if trains else Severity.WARNING,
            f"the module {fact.name} is exchanged",
        )
