"""A command's script imports one function and calls it, or it is not what an installer writes."""

from __future__ import annotations

import pytest

from veracity.observe.entryscript import calls_entry, interpreter_of

RENAMED = """\
#!/x/bin/python
# -*- coding: utf-8 -*-
import re
import sys
from pkg.cli import main
if __name__ == '__main__':
    sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])
    sys.exit(main())
"""
CUT = """\
#!/x/bin/python
import sys
from pkg.cli import app
if __name__ == "__main__":
    if sys.argv[0].endswith("-script.pyw"):
        sys.argv[0] = sys.argv[0][:-11]
    elif sys.argv[0].endswith(".exe"):
        sys.argv[0] = sys.argv[0][:-4]
    sys.exit(app.run())
"""
SUFFIX = """\
#!/x/bin/python
import sys
from pkg.cli import main
if __name__ == '__main__':
    sys.argv[0] = sys.argv[0].removesuffix('.exe')
    sys.exit(main())
"""
LONG = "#!/bin/sh\n'''exec' \"/x/bin/python\" \"$0\" \"$@\"\n' '''\n" + RENAMED.partition("\n")[2]


@pytest.mark.parametrize(
    ("text", "entry"),
    [(RENAMED, "pkg.cli:main"), (SUFFIX, "pkg.cli:main"), (CUT, "pkg.cli:app.run"), (LONG, "pkg.cli:main")],
)
def test_what_installers_write_is_taken(text: str, entry: str) -> None:
    assert calls_entry(text.encode(), entry)
    assert not calls_entry(text.encode(), "pkg.other:main")
    assert not calls_entry(text.encode(), "pkg.cli:other")
    assert not calls_entry(text.encode(), "pkg.cli")


@pytest.mark.parametrize(
    "edit",
    [
        ("import re\n", "import re, os\n"),
        ("import re\n", "import re as sys\n"),
        ("import re\n", "import re\nx = 1\n"),
        ("from pkg.cli import main\n", "from pkg.cli import main, other\n"),
        ("from pkg.cli import main\n", "from pkg.cli import other as main\n"),
        ("from pkg.cli import main\n", "from .pkg.cli import main\n"),
        ("from pkg.cli import main\n", "from pkg.cli import main\nfrom evil import main\n"),
        ("sys.exit(main())", "sys.exit(main(1))"),
        ("sys.exit(main())", "sys.exit(main()) or evil()"),
        ("    sys.exit(main())", "    evil()\n    sys.exit(main())"),
        ("    sys.exit(main())", "    sys.exit(main())\nelse:\n    evil()"),
        ("'', sys.argv[0])", "evil(), sys.argv[0])"),
        ("'', sys.argv[0])", "lambda m: evil(), sys.argv[0])"),
        ("'', sys.argv[0])", "'', sys.argv[0], flags=evil())"),
        ("sys.argv[0] = re.sub", "sys.argv[0] = evil = re.sub"),
        ("if __name__ == '__main__':", "if __name__ == '__main__' or evil():"),
        ("    sys.exit(main())\n", ""),
        ("import sys\n", "import sys\n\0"),
        ("import sys\n", "import sys\n("),
    ],
)
def test_whatever_does_more_is_told(edit: tuple[str, str]) -> None:
    text = RENAMED.replace(*edit)
    assert text != RENAMED
    assert not calls_entry(text.encode(), "pkg.cli:main")


@pytest.mark.parametrize(
    "cut", ["sys.argv[0][evil():]", "sys.argv[0][:evil]", "evil[0]", "evil(sys.argv[0])"]
)
def test_a_cut_that_calls_something_is_told(cut: str) -> None:
    text = CUT.replace("sys.argv[0][:-4]", cut)
    assert not calls_entry(text.encode(), "pkg.cli:app.run")


def test_a_script_of_any_size_is_bounded() -> None:
    assert not calls_entry(RENAMED.encode() + b"#" * (1 << 20), "pkg.cli:main")
    assert not calls_entry(b"(" * 60_000, "pkg.cli:main")


OWN = '"$(dirname -- "$(realpath -- "$0")")"/'


@pytest.mark.parametrize(
    ("start", "interpreter"),
    [
        ("#!/x/bin/python\n", "/x/bin/python"),
        ("#! /x/bin/python -sE\n", "/x/bin/python"),
        ("#!/bin/sh\n'''exec' /x/bin/python \"$0\" \"$@\"\n' '''\n", "/x/bin/python"),
        ("#!/bin/sh\n'''exec' /x/bin/python -E \"$0\" \"$@\"\n' '''\n", "/x/bin/python"),
        ("#!/bin/sh\n'''exec' \"/x y/bin/python\" \"$0\" \"$@\"\n' '''\n", "/x y/bin/python"),
        ("#!/bin/sh\n'''exec' '/x y/bin/python' \"$0\" \"$@\"\n' '''\n", "/x y/bin/python"),
        (f"#!/bin/sh\n'''exec' {OWN}'python' \"$0\" \"$@\"\n' '''\n", "/own/python"),
    ],
)
def test_a_scripts_interpreter_is_told_however_it_is_written(start: str, interpreter: str) -> None:
    assert interpreter_of(f"{start}x = 1\n".encode(), "/own") == (interpreter, b"x = 1\n")


@pytest.mark.parametrize(
    "start",
    [
        "#!/x/bin/python -cevil()\n",
        "#!/x/bin/python -Icevil()\n",
        "#!/x/bin/python -E -c\n",
        "#!/x/bin/python\r\n",  # the kernel takes it for a part of the name
        "#!/bin/sh\nevil; '''exec' /x/bin/python \"$0\" \"$@\"\n' '''\n",
        "#!/bin/sh\n'''exec' evil; /x/bin/python \"$0\" \"$@\"\n' '''\n",
        "#!/bin/sh\n'''exec' $(evil)/x/bin/python \"$0\" \"$@\"\n' '''\n",
        "#!/bin/sh\n'''exec' \"$(evil)/x\" \"$0\" \"$@\"\n' '''\n",
        "#!/bin/sh\n'''exec' /x/bin/python -cevil() \"$0\" \"$@\"\n' '''\n",
        "#!/bin/sh\n'''exec' /x/bin/python \"$0\" \"$@\"\nevil '''\n",
        "",
    ],
)
def test_an_interpreter_that_is_given_more_is_none(start: str) -> None:
    assert interpreter_of(f"{start}x = 1\n".encode(), "/own")[0] == ""
