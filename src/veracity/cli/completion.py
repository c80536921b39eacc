"""``veracity completion SHELL``: a script that completes verbs and flags."""

from __future__ import annotations

import argparse

from .output import deliver
from .parsing import Parser, add_verb

_DESCRIPTION = """\
Print a completion script made from this version's own verbs and flags. It starts nothing while you type."""

_EXAMPLES = """\
  veracity completion bash > ~/.local/share/bash-completion/completions/veracity
  veracity completion zsh > ~/.zfunc/_veracity"""

_BASH = """\
# bash completion for veracity; made by `veracity completion bash`
_veracity() {{
    local verb="" word
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        [[ $word == -- ]] && {{ COMPREPLY=($(compgen -f -- "${{COMP_WORDS[COMP_CWORD]}}")); return; }}
        case $word in {verbs}) verb=$word; break;; esac
    done
    local words
    case $verb in
{cases}
    esac
    COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _veracity veracity
"""

_ZSH = """\
#compdef veracity
# zsh completion for veracity; made by `veracity completion zsh`
_veracity() {{
    local verb="" word
    for word in "${{words[@]:1:$((CURRENT-2))}}"; do
        [[ $word == -- ]] && {{ _files; return }}
        case $word in {verbs}) verb=$word; break;; esac
    done
    case $verb in
{cases}
    esac
    _files
}}
_veracity "$@"
"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add ``completion``."""
    codes = (("0", "printed"), ("2", "wrong usage"))
    parser = add_verb(subparsers, "completion", "print a completion script", _DESCRIPTION, _EXAMPLES, codes)
    parser.add_argument("shell", choices=("bash", "zsh"), metavar="SHELL", help="bash or zsh")


def execute(arguments: argparse.Namespace) -> int:
    """Print the script."""
    from .main import build_parser

    deliver(arguments, script(build_parser(), arguments.shell))
    return 0


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The completion script of ``parser`` for ``bash`` or ``zsh``."""
    verbs = _verbs(parser)
    words = {"": [*verbs, *_flags(parser)]}
    for name, verb in verbs.items():
        names_a_run = any(action.dest == "run" for action in verb._actions)
        words[name] = [*(["latest"] if names_a_run else []), *_flags(verb)]
    if shell == "bash":
        cases = [f'        "{name}") words="{" ".join(known)}";;' for name, known in words.items()]
        return _BASH.format(verbs="|".join(verbs), cases="\n".join(cases))
    cases = [f'        "{name}") compadd -- {" ".join(known)};;' for name, known in words.items()]
    return _ZSH.format(verbs="|".join(verbs), cases="\n".join(cases))


def _verbs(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _flags(parser: argparse.ArgumentParser) -> list[str]:
    return [name for action in parser._actions for name in action.option_strings if name.startswith("--")]
