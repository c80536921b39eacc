"""Calls of functions that do something: wait, kill, seed, load, write, execute …"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from itertools import islice

from . import vocabulary as words
from .record import Recorder
from .scopes import UNKNOWN

MAX_NESTED = 2
MAX_INNER = 1 << 16
MAX_SOURCE_STEPS, MAX_SOURCE_TEXT = 8, 4000
_KILLS = re.compile(r"\b(?:p?kill|killall|pkill|skill|shutdown|reboot|scancel|xkill)\b")
_SLEEPS = re.compile(r"^\s*sleep\b")
_LIBRARY_PATH = re.compile(
    r"site-packages|dist-packages|sysconfig|getsitepackages|getusersitepackages|purelib"
)
_CHECKPOINT = re.compile(
    r"(?i)ckpt|checkpoint|\.pth?\b|safetensors|snapshot|state_dict|model\w*\.bin|optimizer\.pt|weights"
)
_ADDRESS = re.compile(r"(?:https?|ftp|s3|gs|gcs|hf|abfs)://", re.IGNORECASE)
_WRITES = re.compile(r"\b(?:dump|save|to_pickle)\s*\(|['\"][wax]b?\+?['\"]")
_TRAINING_MODULE = re.compile(
    r"['\"](?:torch|numpy|transformers|accelerate|lightning|deepspeed|jax|flax|optax|sklearn)(?:\.\w+)*['\"]"
)
"""The name of a module of a library of training, as a text: what a finder that looks for it holds."""
_SYSTEM_LIBRARY = re.compile(r"/(usr|lib|lib64|opt|System|Library|nix|conda)/")
_NOT_SENT = frozenset(("headers", "auth", "cookies", "cert", "verify", "timeout", "proxies"))
_ENVIRONMENT = re.compile(
    r"(?<!\bin )\bos\.environ\b(?!\s*(\[|\.(get|setdefault|pop)\b))|\bin os\.environ\.(items|values|copy)\b"
)
_CREDENTIALS = re.compile(
    r"\.ssh\b|\bid_(rsa|ed25519|ecdsa)\b|\.aws/credentials|\.netrc\b|\.kube/config|\.git-credentials|\.pypirc\b"
    r"|huggingface/(token|stored_tokens)|\.docker/config|gcloud/\S*credentials|/etc/shadow"
)
_KEY = re.compile(
    r"(?i)\bos\.(environ(\.get)?|getenv)\s*[\[(]\s*['\"]\w*(TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_KEY)"
)
MAX_SENT = 4_000
MAX_HOPS = 3
MAX_COMPARED = 500
_LISTS = re.compile(r"nvidia-smi|rocm-smi|process_iter|\bpids\(|pgrep|\bps\b.{0,8}-[a-zA-Z]|/proc\b")
"""How programs find processes that they did not start."""
_SAFE_LOADERS = ("SafeLoader", "CSafeLoader", "BaseLoader", "CBaseLoader")


def _unquoted(text: str) -> str:
    return text.replace('"', "'")


class Acts:
    """Makes facts of calls that the vocabulary sorts."""

    def __init__(self, recorder: Recorder, walk: Callable[[ast.Module], None]) -> None:
        self._record = recorder
        self._names = recorder.names
        self._reading = recorder.reading
        self._walk = walk
        self._nested = 0
        self._writing: list[str] | None = None
        self._compared = 0

    def note(self, node: ast.Call, act: str, name: str, method: str) -> None:
        """Make a fact of a call that ``CALLS`` or ``METHODS`` sorts as ``act``."""
        first = node.args[0] if node.args else None
        how, amount, bits = "", first, 0
        if act in ("seed", "put-back") and self._record.forks:
            return  # within fork_rng the outer state is put back by whoever left it
        if act == "generator":
            # A generator that is made anew for each item, and seeded with the same number.
            each = self._names.scope.roles & {"item", "collate", "forward", "order"}
            if not each or not isinstance(self._names.fold(first), (int, float)):
                return
            act = "seed"
        if act == "seed":
            how, bits = self._seeded(first), self._reading.chosen(first)
        elif act == "put-back":
            how = self._put_back(first)
        elif act == "start":
            how = self._started(node)
        elif act == "load":
            how, bits = self._loaded(node, name)
            if not how:
                return
        elif act in ("execute", "compile", "code"):
            how = self._executed(node, act)
        elif act == "import":
            if isinstance(self._names.fold(first), str):
                return
            how = "decoded" if self._reading.bits(first) & words.DECODED else "computed"
        elif act == "send":
            how = self._sent(node)
            if not how:
                return
        elif act == "native" and not self._is_of_its_own(first):
            return
        elif act == "import-hook":
            how = "targets" if any(map(_TRAINING_MODULE.search, self._record.lines)) else ""
        elif act in ("write", "delete", "rename", "times"):
            how = self._written(node, act, name, method)
            if not how:
                return
            if name == "torch.save" and first is not None:
                self._saved(first, node)
            if act == "delete" and "random.choice" in self._source(first):
                bits = words.CHANCE
            amount = node.args[1] if name.endswith("save") and len(node.args) > 1 else first
        elif act == "sleep":
            if name == "select.select" and len(node.args) < 4:
                return
            how = "polls" if self._record.loops and self._record.loops[-1].polls else ""
        elif act == "kill":
            harmless = name == "ctypes.string_at" and self._names.fold(first) != 0
            how = self._killed(first)
            if harmless or (method == "send_signal" and how != "freeze"):
                return
        number = self._names.fold(amount)
        factor = float(number) if isinstance(number, (int, float)) else None
        self._record.emit("call", act, how, node, name=name, amount=amount, bits=bits, factor=factor)

    def _saved(self, state: ast.expr, node: ast.Call) -> None:
        change = self._record.transforms.of(state, words.SAVED)
        if change is not None and change.how in ("scale", "noise", "flip", "add", "zero"):
            self._record.emit("edit", "saved", change.how, node, name="torch.save", amount=change.amount)

    def _killed(self, first: ast.expr | None) -> str:
        """``freeze`` by a stop signal; ``others``: processes that were found in a list of all."""
        sent = self._names.dotted(first).rpartition(".")[2] if first is not None else ""
        return "freeze" if sent == "SIGSTOP" else "others" if _LISTS.search(self._source(first)) else ""

    def _seeded(self, first: ast.expr | None) -> str:
        if isinstance(self._names.fold(first), (int, float)):
            return "constant"
        return "drawn" if first is None else "same" if self._stays(first) else "value"

    def _put_back(self, first: ast.expr | None) -> str:
        if not self._reading.bits(first) & words.RANDOM_STATE:
            return "attribute" if isinstance(first, ast.Attribute) else "value"
        before = isinstance(first, ast.Name) and first.id not in self._names.scope.values
        return "kept from before" if before else "kept"

    def _stays(self, node: ast.expr | None) -> bool:
        """Whether a seed is one attribute, so that the same comes again each time."""
        return isinstance(node, ast.Attribute) and not self._reading.bits(node) & words.STEP

    def _started(self, node: ast.Call) -> str:
        texts = []
        for one in ast.walk(ast.Tuple(list(node.args), ast.Load())):
            if isinstance(one, ast.Constant) and isinstance(one.value, str):
                texts.append(one.value)
        whole = self._names.fold(node.args[0]) if node.args else UNKNOWN
        texts += [whole] if isinstance(whole, str) else []
        if any(_KILLS.search(text) for text in texts):
            return "kill"
        return "sleep" if any(_SLEEPS.search(text) for text in texts) else "start"

    def _loaded(self, node: ast.Call, name: str) -> tuple[str, int]:
        given = {word.arg: word.value for word in node.keywords if word.arg}
        if name == "torch.load":
            asked = given.get("weights_only")
            if asked is None:
                return "default", 0
            value = self._names.fold(asked)
            if value is True:
                return "safe", 0
            bits = self._reading.chosen(asked) | self._reading.condition(asked)
            if value not in (False, 0):
                return "conditional", bits
            return self._unsafe(node.args[0] if node.args else None), bits
        if name == "numpy.load":
            return ("unsafe" if self._names.fold(given.get("allow_pickle")) is True else ""), 0
        if name.startswith("yaml.load"):
            loader = given.get("Loader") or (node.args[1] if len(node.args) > 1 else None)
            named = self._names.dotted(loader) if loader is not None else ""
            return (
                ""
                if named.endswith(_SAFE_LOADERS)
                or (loader is not None and "Unsafe" not in named and not named.endswith("yaml.Loader"))
                else "unsafe"
            ), 0
        if name in ("torch.jit.load", "yaml.full_load"):
            return "", 0
        first = node.args[0] if node.args else None
        if self._is_payload(first):
            return "decoded", 0
        return self._unsafe(first), 0

    def _unsafe(self, loaded: ast.expr | None) -> str:
        """How a load is unsafe, by where that comes from which is loaded."""
        if self._record.handlers and self._record.tried_load:
            return "fallback"
        came = list(self._came_from(loaded, MAX_HOPS))
        if any(self._is_fetched(one) for one in came):
            return "fetched"
        return "own" if any(self._is_written_too(one) for one in came) else "unsafe"

    def _came_from(self, node: ast.expr | None, hops: int) -> Iterator[ast.expr]:
        """An expression and those that the variables in it were set to."""
        if node is None:
            return
        yield node
        for one in ast.walk(node) if hops else ():
            self._names.spend()
            known = self._names.value(one.id) if isinstance(one, ast.Name) else None
            held = known.node if known is not None else None
            if known is not None and held is None and "." in known.name:
                held = ast.Name(known.name.partition(".")[0], ast.Load())  # an attribute of another variable
            if isinstance(held, ast.expr) and held is not node:
                yield from self._came_from(held, hops - 1)

    def _is_fetched(self, node: ast.expr) -> bool:
        """Whether an expression asks another host, or is the address of something there."""
        for one in ast.walk(node):
            if isinstance(one, ast.Call) and self._names.dotted(one.func).startswith(words.FETCHERS):
                return True
        text = self._names.fold(node)
        return isinstance(text, str) and _ADDRESS.match(text) is not None

    def _is_written_too(self, node: ast.expr) -> bool:
        """Whether some line of the same text writes what this one opens, as one cell does for the next."""
        opened = node.args[0] if isinstance(node, ast.Call) and node.args else node
        text = _unquoted(ast.unparse(opened)[:200])
        self._compared += 1
        if len(text) < 2 or self._compared > MAX_COMPARED:
            return False
        if self._writing is None:
            lines = (_unquoted(line) for line in self._record.lines if _WRITES.search(line))
            self._writing = list(islice(lines, MAX_COMPARED))
        return any(text in line for line in self._writing)

    def _is_of_its_own(self, node: ast.expr | None) -> bool:
        """Whether a library lies where no system and no package keeps any."""
        path = self._names.fold(node)
        return isinstance(path, str) and path.startswith("/") and not _SYSTEM_LIBRARY.match(path)

    def _sent(self, node: ast.Call) -> str:
        """What of a program's secrets a request carries, headers left out; empty for nothing known."""
        parts = [*node.args, *(word.value for word in node.keywords if word.arg not in _NOT_SENT)]
        came = [one for part in parts for one in self._came_from(part, MAX_HOPS)][:MAX_COMPARED]
        texts = [ast.unparse(one)[:MAX_SENT] for one in came]
        if any(_ENVIRONMENT.search(text) for text in texts):
            return "environment"
        if any(_CREDENTIALS.search(text) for text in texts):
            return "credentials"
        plain = any("http://" in text for text in texts)
        return "unprotected" if plain and any(_KEY.search(text) for text in texts) else ""

    def _is_payload(self, node: ast.expr | None) -> bool:
        """Whether what is loaded stands encoded in the source."""
        if node is None or isinstance(self._names.fold(node), bytes):
            return node is not None
        known = self._names.value(node.id) if isinstance(node, ast.Name) else None
        made = known.node if known is not None else node
        if not isinstance(made, ast.Call) or not self._reading.bits(made) & words.DECODED:
            return False
        return any(isinstance(self._names.fold(one), (str, bytes)) for one in made.args[:1])

    def _executed(self, node: ast.Call, act: str) -> str:
        first = node.args[0] if node.args else None
        text = self._names.fold(first)
        plain = isinstance(first, ast.Constant)
        if isinstance(text, bytes):
            text = text.decode("utf-8", "replace")
        if isinstance(text, str) and act != "code":
            self._inner(text, node)
        if isinstance(first, ast.Call) and self._names.dotted(first.func).endswith("compile") and first.args:
            first = first.args[0]
        spelled = (
            isinstance(first, ast.Call)
            and isinstance(first.func, ast.Attribute)
            and first.func.attr == "decode"
        )
        named = node.func if isinstance(node.func, ast.Call) else None
        pieces = named is not None and len(named.args) > 1 and not isinstance(named.args[1], ast.Constant)
        spelled = spelled or pieces
        letters = any(
            isinstance(one, ast.Call) and self._names.dotted(one.func) in ("chr", "builtins.chr")
            for one in ast.walk(first or node)
        )
        if letters or pieces:
            return "decoded"
        if self._reading.bits(first) & words.DECODED or (spelled and isinstance(text, str)):
            return "decoded"
        if any(
            isinstance(one, ast.Call) and self._names.dotted(one.func).startswith(words.FETCHERS)
            for one in ast.walk(first or node)
        ):
            return "fetched"
        return "literal" if plain else "folded" if isinstance(text, str) else "built"

    def _inner(self, text: str, node: ast.Call) -> None:
        """Code in a constant text that is executed: walked as if it stood there."""
        if self._nested >= MAX_NESTED or len(text) > MAX_INNER:
            return
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return
        for one in ast.walk(tree):
            if hasattr(one, "lineno"):
                one.lineno = node.lineno
                one.end_lineno = node.end_lineno  # type: ignore[attr-defined]
        self._nested += 1
        self._walk(tree)
        self._nested -= 1

    def _written(self, node: ast.Call, act: str, name: str, method: str) -> str:
        parts = [*node.args, *(word.value for word in node.keywords)]
        if act == "write" and name.endswith("open") and not method:
            mode = self._names.fold(parts[1]) if len(parts) > 1 else "r"
            if name == "os.open" or not isinstance(mode, str) or not set(mode) & set("wax+"):
                return ""
            parts = parts[:1]
            if "r" in mode and _CHECKPOINT.search(self._path_text(parts[0])):
                return "checkpoint in place"
        if method and isinstance(node.func, ast.Attribute):
            parts = [node.func.value, *parts]
        texts = [self._path_text(one) for one in parts[:4]]
        if act == "times":
            put_back = any("stat" in text or "getmtime" in text or "st_mtime" in text for text in texts)
            return "put back" if put_back or name == "shutil.copystat" else "set"
        if any(_LIBRARY_PATH.search(text) for text in texts) or any(
            self._of_library(one) for one in parts[:4]
        ):
            return "library"
        if any(_CHECKPOINT.search(text) for text in texts):
            return "checkpoint"
        return "" if act == "write" else "other"

    def _of_library(self, node: ast.expr) -> bool:
        """Whether a path is made from the file of an imported library."""
        for one in ast.walk(node):
            if isinstance(one, ast.Attribute) and one.attr == "__file__":
                return self._names.dotted(one.value).partition(".")[0] in words.LIBRARIES
        return False

    def _path_text(self, node: ast.expr) -> str:
        folded = self._names.fold(node)
        return folded if isinstance(folded, str) else self._source(node)

    def _source(self, node: ast.AST | None) -> str:
        """The text of an expression and of what its variables were made from, a few steps back."""
        text, pending, seen = "", [] if node is None else [node], 0
        while pending and seen < MAX_SOURCE_STEPS and len(text) < MAX_SOURCE_TEXT:
            one, seen = pending.pop(0), seen + 1
            try:
                text += " " + ast.unparse(one)[:400]
            except (ValueError, RecursionError):
                continue
            for part in ast.walk(one):
                known = self._names.value(part.id) if isinstance(part, ast.Name) else None
                if known is None:
                    continue
                if isinstance(known.node, (ast.Call, ast.BinOp, ast.Subscript)) and known.node is not one:
                    pending.append(known.node)
                if isinstance(known.constant, str):
                    text += " " + known.constant[:400]
        return text
