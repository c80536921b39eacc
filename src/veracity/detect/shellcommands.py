"""What a command does that no experiment needs: for the shell of a notebook and for what a source starts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..core.rule import Severity

_SHELL = r"(sudo\s+)?(env\s+)?(/\S*/)?(ba|z|da|k|a)?sh\b"
# With -m or a file of its own, a program reads what it is fed as data.
_PROGRAM = r"(sudo\s+)?(env\s+)?(/\S*/)?(python|perl|ruby|node)[\d.]*(\s+-)?\s*(?=$|[;&|)'\"])"
_RUNS = rf"{_SHELL}|{_PROGRAM}"
_CREDENTIALS = (
    r"(\.ssh/|id_rsa|id_ed25519|\.aws/|\.netrc|\.kube/config|\.git-credentials|\.huggingface/|\.pypirc"
    r"|\.cache/huggingface/token|\.docker/config|\.config/gcloud|/etc/shadow)"
)
_DECODES = (
    rf"\b(base64|openssl\s+(enc|base64)|xxd|uudecode)\b[^|\n]*(-d|-D|--decode|-r)\b[^|\n]*\|\s*({_RUNS})"
    r"|\b(python|perl|ruby)[\d.]*\s+-[ce]\s+[^\n]*\b(b64decode|fromhex|decompress|exec\s*\(\s*\w*\(|marshal)"
)
_CONNECTS = (
    r"/dev/(tcp|udp)/|\b(nc|ncat|netcat)\b[^\n]*\s(-\w*[ec]\b|--exec|--sh-exec)"
    r"|\bmkfifo\b[^\n]*\b(nc|ncat|telnet)\b|\bsocat\b[^\n]*\bexec:"
)
_SENDS = (
    rf"\b(curl|wget|nc|ncat|scp|rsync|ftp)\b[^\n]*{_CREDENTIALS}|{_CREDENTIALS}[^\n]*\|\s*(curl|nc|ncat)\b"
)
# Not allocators and runtimes, which people put before others for speed.
_PRELOADS = (
    r"\b(LD_PRELOAD|LD_AUDIT|BASH_ENV|PYTHONSTARTUP)=['\"]?"
    r"(?!\S*lib(tcmalloc|jemalloc|mimalloc|iomp5|gomp|omp|stdc\+\+|cuda|nccl))[\w./~]"
)
_STARTS = (
    r"(>|\btee\b|\bcp\b|\bmv\b|\bln\b)[^\n|]*(authorized_keys|/etc/ld\.so\.preload|/etc/cron"
    r"|sitecustomize\.py|usercustomize\.py|-packages/\S*\.pth)|\bcrontab\s+(-\s|[^-\s])|\|\s*crontab\b"
)
# A home or the root as a whole, and anything of what the system consists of.
_DELETES = (
    r"\brm\s+(-\S+\s+){0,4}-\w*[rR]\w*\s+([^\s;&|]+\s+){0,8}?['\"]?"
    r"((/|~|\$HOME|\$\{HOME\}|/root|/home|/home/[\w.-]+)/?\*?['\"]?(\s|$|;|&)"
    r"|/(bin|boot|dev(?!/shm)|etc|lib|lib32|lib64|proc|sbin|sys)(/|['\"]?(\s|$|;|&)))"
    r"|\bmkfs\b|\bdd\b[^\n]*\bof=/dev/(sd|nvme|vd|hd)"
)
# A script that anybody on the way can exchange, kept and then run.
_RUN_IT = rf"[;&|]\s*(sudo\s+)?(({_SHELL}|source|\.|python[\d.]*|perl|chmod\s+\S+)\s+(\./)?|\./)"
_IN_STEPS = (
    rf"\b(curl|wget)\b[^\n]*\bhttp://\S*?(?P<named>[\w.-]+\.(sh|py|pl|run|bin))\b[^\n]*{_RUN_IT}(?P=named)"
    r"|\b(curl|wget)\b[^\n]*\s(-\w*o|-O|--output(-document)?|>)\s*(?P<kept>[^\s;&|]+)"
    rf"[^\n]*\bhttp://[^\n]*{_RUN_IT}(?P=kept)"
    r"|\b(curl|wget)\b[^\n]*\bhttp://[^\n]*\s(-\w*o|-O|--output(-document)?|>)\s*(?P<held>[^\s;&|]+)"
    rf"[^\n]*{_RUN_IT}(?P=held)"
)
_INLINE = r"\bpython[\d.]*\s+-c\s+[^\n]*\bexec\s*\([^\n]*\b(urlopen|requests\.get|httpx\.get)\s*\("
_FETCHES = rf"\b(curl|wget)\b[^|\n]*\|\s*({_RUNS})|({_SHELL})\s+(-c\s+)?[\"']?[<$]\(\s*(curl|wget)\b"
_CHANGES = (
    r"\b(sed\s+(-\S+\s+)*-\w*i|patch\b|tee\b|cp\b|mv\b)[^\n|]*(site|dist)-packages/\S+"
    r"|>\s*\S*(site|dist)-packages/\S+"
)
_UNPROTECTED = (
    r"\bpip[\d.]*\s[^\n]*((--(extra-)?index-url|-i|--find-links|-f)[ =]['\"]?http://|--trusted-host\b)"
    r"|\bpip[\d.]*\s+install\b[^\n]*\s['\"]?(\w+\+)?http://"
)
_RULES = tuple(
    (re.compile(pattern), why, severity)
    for pattern, why, severity in (
        (_DECODES, "decodes a text and runs it", Severity.ERROR),
        (_CONNECTS, "connects a shell to another host", Severity.ERROR),
        (_SENDS, "sends credentials away", Severity.ERROR),
        (_STARTS, "changes what starts by itself", Severity.ERROR),
        (_DELETES, "deletes a home, or what the system consists of", Severity.ERROR),
        (_PRELOADS, "has code loaded into each program from here on", Severity.WARNING),
        (_IN_STEPS, "fetches a script that anybody on the way can exchange, and runs it", Severity.WARNING),
        (_INLINE, "fetches a script and runs it", Severity.WARNING),
        (_FETCHES, "fetches a script and runs it", Severity.WARNING),
        (_CHANGES, "changes installed libraries in place", Severity.WARNING),
        (_UNPROTECTED, "installs packages that anybody on the way can exchange", Severity.WARNING),
    )
)
MAX_TEXT = 50_000
PIECE = 1_000


def harm_of(text: str) -> tuple[str, Severity]:
    """What the worst part of a command does, as a predicate, and how bad that is; empty for nothing known."""
    lines = list(_lines(text))
    for pattern, why, severity in _RULES:
        if any(pattern.search(line) for line in lines):
            return why, severity
    return "", Severity.NOTE


def _lines(text: str) -> Iterator[str]:
    """Lines with those that go on joined; long ones in pieces that overlap, since time grows with length."""
    for line in text.replace("\\\n", " ").split("\n"):
        for at in range(0, max(1, len(line)), PIECE // 2):
            yield line[at : at + PIECE]
