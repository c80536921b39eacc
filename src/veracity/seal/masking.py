"""Secrets are never recorded: the record cannot be edited later.

Two nets. *By name*: what stands behind a name such as ``--token``, ``api_key=`` or ``Authorization:`` is
masked whatever it looks like. *By shape*: tokens of known form, credentials in URLs, private keys, and any
run of characters that looks drawn at random. What is masked becomes a keyed digest, so that two runs can be
compared; the key stays in the run's folder and is never recorded. Masking too much is the safe side.

What no net holds: a secret of plain words, or a short one, under a name that does not say so.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Mapping, Sequence

MAX_TEXT = 64 << 10

# Words that make a name sensitive wherever they stand in it, and those that do as its last word.
_NAMES = frozenset(
    {
        *("secret", "secrets", "password", "passwords", "passwd", "passphrase", "passcode", "pwd", "apikey"),
        *("auth", "authorization", "credential", "credentials", "creds", "bearer", "jwt", "dsn", "psk"),
        *("connectionstring", "webhook", "netrc", "htpasswd", "accesskey", "secretkey", "privatekey"),
        *("accountkey", "authtoken"),
    }
)
_LAST_WORDS = frozenset(
    {"token", "pass", "pw", "pin", "pat", "otp", "sig", "sas", "signature", "salt", "cookie", "key"}
)
_PLAIN_KEYS = frozenset({"sort", "primary", "foreign", "partition", "group", "monitor", "metric", "cache"})

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SEPARATOR = re.compile(r"[_+\-=]")

# The value of a variable of these names decides how a run computes, and is recorded.
_PUBLIC = frozenset(
    {
        *("PATH", "PYTHONPATH", "PYTHONHOME", "PYTHONHASHSEED", "PYTHONOPTIMIZE", "PYTHONDONTWRITEBYTECODE"),
        *("PYTHONPYCACHEPREFIX", "PYTHONNOUSERSITE", "PYTHONSTARTUP", "PYTHONUSERBASE", "PYTHONUNBUFFERED"),
        *("PYTHONNODEBUGRANGES", "PYTHONFAULTHANDLER", "PYTHONMALLOC", "PYTHONUTF8", "PYTHONWARNINGS"),
        *("VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "LD_LIBRARY_PATH", "LD_PRELOAD", "LD_AUDIT"),
        *("CUDA_VISIBLE_DEVICES", "CUDA_HOME", "CUDA_LAUNCH_BLOCKING", "CUDA_DEVICE_ORDER"),
        *("CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"),
        *("OMP_NUM_THREADS", "OMP_PROC_BIND", "OMP_SCHEDULE", "MKL_NUM_THREADS", "MKL_CBWR", "MKL_DYNAMIC"),
        *("KMP_AFFINITY", "KMP_BLOCKTIME", "GOMP_CPU_AFFINITY", "OPENBLAS_NUM_THREADS"),
        *("NUMEXPR_NUM_THREADS", "ATEN_CPU_CAPABILITY", "DNNL_MAX_CPU_ISA", "ONEDNN_MAX_CPU_ISA"),
        "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
        *("TORCH_CUDNN_V8_API_DISABLED", "TORCH_LOGS", "TORCHDYNAMO_DISABLE", "PYTORCH_CUDA_ALLOC_CONF"),
        *("PYTORCH_NVML_BASED_CUDA_CHECK", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"),
        *("TORCHELASTIC_MAX_RESTARTS", "TORCH_NCCL_ASYNC_ERROR_HANDLING", "NCCL_ALGO", "NCCL_PROTO"),
        *("NCCL_DEBUG", "NCCL_IB_DISABLE", "NCCL_P2P_DISABLE", "NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME"),
        *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE"),
        *("ROLE_RANK", "ROLE_NAME", "ROLE_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
        *("SLURM_JOB_ID", "SLURM_JOB_NAME", "SLURM_JOB_NODELIST", "SLURM_JOB_NUM_NODES", "SLURM_NTASKS"),
        *("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_JOB_PARTITION", "SLURM_JOB_ACCOUNT"),
        *("LANG", "LC_ALL", "LC_CTYPE", "TZ", "HOME", "USER", "LOGNAME", "SHELL", "PWD", "TMPDIR"),
        "HOSTNAME",
        *("HF_HOME", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "TOKENIZERS_PARALLELISM", "WANDB_MODE"),
    }
)

_SCHEMES = frozenset({"bearer", "basic", "digest", "negotiate"})
_USER_OPTIONS = frozenset({"-u", "-U", "--user", "--proxy-user"})

_VALUE = r"""(?:"(?:[^"\\]|\\.){0,4096}"?|'(?:[^'\\]|\\.){0,4096}'?|[^\s"',;&}\])]{1,4096})"""
_ASSIGNED = re.compile(
    r"""(?<![A-Za-z0-9_.\-])(?P<name>[A-Za-z0-9_.\-]{1,4096})(?P<sign>["']?\]?\s{0,8}(?::=|[:=])\s{0,8})"""
)
_VALUES = re.compile(_VALUE)
_OPTION = re.compile(r"--?[A-Za-z][A-Za-z0-9_.\-]{0,200}\Z")
_SPACED = re.compile(
    r"(?<![A-Za-z0-9\-])(?P<name>--?[A-Za-z][A-Za-z0-9_.\-]{0,200})(?P<gap>[ \t]{1,8})"
    rf"(?P<value>{_VALUE})"
)
_HEADER = re.compile(
    r"(?i)\b(?P<scheme>bearer|basic|digest|negotiate|token|apikey)\s+(?P<value>[^\s\"',;]{4,})"
)
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]{0,30}://)(?P<user>[^/\s@\"']{1,1024})@")
_PEM = re.compile(r"-----BEGIN [A-Z0-9 ]{0,60}-----.*?(?:-----END [A-Z0-9 ]{0,60}-----|\Z)", re.DOTALL)
_PEM_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,60}-----")
_PEM_END = re.compile(r"-----END [A-Z0-9 ]{0,60}-----")

_SHAPES = re.compile(
    r"""(?x)(?<![A-Za-z0-9])(?:
    (?:AKIA|ASIA|ABIA|ACCA|AGPA|AIDA|AROA)[A-Z0-9]{12,}
    | gh[pousr]_[A-Za-z0-9]{16,} | github_pat_[A-Za-z0-9_]{20,}
    | gl(?:pat|dt|rt|cbt|ptt|ft|soat)-[A-Za-z0-9_\-.]{10,}
    | hf_[A-Za-z0-9]{16,} | api_org_[A-Za-z0-9]{16,}
    | xox[a-z]{1,2}[-.][A-Za-z0-9\-.]{8,} | xapp-[A-Za-z0-9\-]{10,}
    | (?:sk|pk|rk)[-_](?:live|test|proj|ant|or|lf|svcacct|admin)?[-_A-Za-z0-9]{16,}
    | AIza[A-Za-z0-9_\-]{20,} | ya29\.[A-Za-z0-9_\-.]{10,} | GOCSPX-[A-Za-z0-9_\-]{10,}
    | eyJ[A-Za-z0-9_\-]{8,}(?:\.[A-Za-z0-9_\-]{2,}){1,4}
    | npm_[A-Za-z0-9]{16,} | pypi-[A-Za-z0-9_\-]{16,} | dckr_(?:pat|oat)_[A-Za-z0-9_\-]{10,}
    | do[opr]_v1_[a-f0-9]{16,} | SG\.[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]{10,}
    | (?:key|pubkey)-[a-f0-9]{20,} | shp(?:at|ca|pa|ss)_[a-fA-F0-9]{16,}
    | (?:hvs|hvb|hvr|s)\.[A-Za-z0-9_\-]{20,} | lin_api_[A-Za-z0-9]{16,} | r8_[A-Za-z0-9]{16,}
    | (?:dapi|dkea|dose)[a-f0-9]{20,} | nvapi-[A-Za-z0-9_\-]{16,} | gsk_[A-Za-z0-9]{16,}
    | sq0[a-z]{3}-[A-Za-z0-9_\-]{10,} | EAAC[A-Za-z0-9]{16,} | AGE-SECRET-KEY-1[A-Z0-9]{16,}
    | PMAK-[a-f0-9\-]{16,} | fio-u-[A-Za-z0-9_\-=]{16,} | tfp_[A-Za-z0-9_\-]{16,} | NRAK-[A-Z0-9]{16,}
    | (?:atlasv1|v1\.0)[.\-][A-Za-z0-9_\-.]{20,} | glsa_[A-Za-z0-9_]{16,} | phc_[A-Za-z0-9]{16,}
    | (?:lsv2|pcsk|rpa|figd|ntn|secret|vercel|tskey)[_-][A-Za-z0-9_\-]{16,}
    | [0-9]{8,12}:AA[A-Za-z0-9_\-]{25,}
    )"""
)
_RUN = re.compile(r"[A-Za-z0-9_+\-]{16,4096}={0,2}")
_BASE64 = re.compile(r"(?<![A-Za-z0-9/+.])[A-Za-z0-9/+]{40,4096}={0,2}(?![A-Za-z0-9/+.])")
_HEX = re.compile(r"[0-9a-fA-F]{32,}\Z")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")


# Short options that take a user with a password, by program: elsewhere -u means something else (python -u).
_CREDENTIAL_OPTIONS = {
    "curl": ("-u", "-U"),
    "mysql": ("-u",),
    "mongosh": ("-u",),
    "http": ("-a",),
    "https": ("-a",),
    "sshpass": ("-p",),
}


class Masker:
    """Masks texts under one key (at least 16 bytes, kept secret)."""

    def __init__(self, key: bytes) -> None:
        if len(key) < 16:
            raise ValueError("a masking key has at least 16 bytes")
        self._key = key

    def digest(self, value: str) -> str:
        """Keyed digest of a value: 128 bits of HMAC-SHA-256, ``hmac-sha256:<32 hexadecimal digits>``."""
        data = value.encode("utf-8", "surrogateescape")
        return "hmac-sha256:" + hmac.new(self._key, data, "sha256").hexdigest()[:32]

    def text(self, text: str) -> str:
        """A text with its secrets masked; cut at ``MAX_TEXT`` characters."""
        text = text[:MAX_TEXT]
        text = _PEM.sub(lambda found: self._mask(found[0]), text)
        text = _URL.sub(lambda found: f"{found['scheme']}{self._mask(found['user'])}@", text)
        text = self._assignments(text)
        text = _SPACED.sub(self._spaced, text)
        text = _HEADER.sub(lambda found: f"{found['scheme']} {self._mask(found['value'])}", text)
        text = _SHAPES.sub(lambda found: self._mask(found[0]), text)
        text = _BASE64.sub(lambda found: self._base64(found[0]), text)
        return _RUN.sub(lambda found: self._random(found[0]), text)

    def command(self, arguments: Sequence[str]) -> list[str]:
        """A command line with its secrets masked, one item for each argument."""
        masked: list[str] = []
        sensitive = False
        program = arguments[0].rpartition("/")[2] if arguments else ""
        for argument in arguments:
            option, equals, value = argument.partition("=")
            if sensitive:
                masked.append(self._mask(argument))
                sensitive = False
            elif _OPTION.match(option) and is_sensitive(option):
                masked.append(f"{option}={self._mask(value)}" if equals else argument)
                sensitive = not equals
            elif argument in _USER_OPTIONS or (program, argument) == ("sshpass", "-p"):
                masked.append(argument)
                sensitive = True
            elif program == "sshpass" and argument.startswith("-p"):
                masked.append("-p" + self._mask(argument[2:]))
            else:
                masked.append(self.text(argument))
        return masked

    def environment(self, variables: Mapping[str, str]) -> list[tuple[str, str]]:
        """Name and value of each variable, by name: the value itself (with secrets masked) where the name is
        on the list of public ones, else its keyed digest.
        """
        return [
            (self.text(name), self.text(value) if name in _PUBLIC else self.digest(value))
            for name, value in sorted(variables.items())
        ]

    def lines(self, lines: Iterable[str]) -> list[str]:
        """Lines of a diff, each masked; a private key over several lines is masked as a whole."""
        masked: list[str] = []
        inside = False
        for line in lines:
            begins, ends = _PEM_BEGIN.search(line), _PEM_END.search(line)
            if inside or begins:
                masked.append((line[:1] if line[:1] in "+- " else "") + self._mask(line))
                inside = ends is None
            else:
                masked.append(self.text(line))
        return masked

    def _assignments(self, text: str) -> str:
        """Each ``name = value`` with the value masked, if the name is sensitive.

        What stands behind another name is looked at again: it may hold an assignment itself, as in a URL's
        query or a header given as an option.
        """
        parts: list[str] = []
        position = 0
        while found := _ASSIGNED.search(text, position):
            parts.append(text[position : found.end()])
            position = found.end()
            value = _VALUES.match(text, position) if is_sensitive(found["name"]) else None
            # "Authorization: Bearer abc": the scheme is not the secret, what follows it is masked later.
            if value is not None and value[0] != "<masked" and value[0].lower() not in _SCHEMES:
                parts.append(self._mask(value[0]))
                position = value.end()
        return "".join(parts) + text[position:]

    def _spaced(self, found: re.Match[str]) -> str:
        """``--name value`` with the value masked, if the name is sensitive or stands for a user."""
        sensitive = is_sensitive(found["name"]) or found["name"] in _USER_OPTIONS
        if not sensitive or found["value"] == "<masked":
            return found[0]
        return f"{found['name']}{found['gap']}{self._mask(found['value'])}"

    def _base64(self, run: str) -> str:
        """A run that may hold slashes, masked unless there are as many as in a path.

        One of exactly 40 characters may be a cloud's secret key, which has no other shape.
        """
        few = len(run) == 40 or run.count("/") <= len(run) / 12
        return self._mask(run) if few and _in_small_pieces(run.replace("/", "").rstrip("=")) else run

    def _random(self, run: str) -> str:
        return self._mask(run) if looks_random(run) else run

    def _mask(self, value: str) -> str:
        digest = self.digest(value)[12:28]
        # In groups, so that a mask is not taken for a secret itself when a text is masked again.
        return f"<masked {digest[:4]}-{digest[4:8]}-{digest[8:12]}-{digest[12:]}>"


def is_sensitive(name: str) -> bool:
    """Whether what is assigned to ``name`` is a secret by the words in the name."""
    words = [word.lower() for word in _WORD.findall(name)]
    if any(word in _NAMES for word in words):
        return True
    joined = "".join(words)
    if any(part in joined for part in ("password", "passwd", "secret", "apikey", "credential", "accesskey")):
        return True
    while words and words[-1].isdigit():
        words.pop()
    if not words or words[-1] not in _LAST_WORDS:
        return False
    return not (words[-1] == "key" and len(words) > 1 and words[-2] in _PLAIN_KEYS)


def looks_random(run: str) -> bool:
    """Whether a run of letters and digits looks drawn at random rather than written.

    Hexadecimal of 32 digits or more and UUIDs do. Otherwise: 16 characters or more, of two classes among
    lower case, upper case and digits, that fall into pieces (words with or without a capital, numbers)
    shorter than those of names and dates. Separators split a run unless they are as rare as in base64.
    """
    if _HEX.match(run) or _UUID.match(run):
        return True
    parts = _SEPARATOR.split(run.rstrip("="))
    if any(_in_small_pieces(part) for part in parts):
        return True
    return len(parts) - 1 <= len(run) / 12 and _in_small_pieces("".join(parts))


def _in_small_pieces(run: str) -> bool:
    if len(run) < 16:
        return False
    pieces = _WORD.findall(run)
    lower, upper = any(c.islower() for c in run), any(c.isupper() for c in run)
    if upper and not lower:
        longest_piece = 6.0  # base32; nobody writes that many capitals and digits in one word
    elif len(run) >= 28 and upper and any(c.isdigit() for c in run):
        longest_piece = 5.5  # names of this length have separators
    else:
        longest_piece = 3.6
    return len(pieces) > 1 and len(run) / len(pieces) < longest_piece
