"""Rules about files that ask their readers for names, code, operators or files, in the order of asking."""

from __future__ import annotations

from .detector import Detector
from .rules.checkpoint.carries_code import CarriesCode
from .rules.checkpoint.format_broken import FormatBroken
from .rules.checkpoint.names_harm import NamesHarm
from .rules.checkpoint.notebook_command import NotebookCommand
from .rules.checkpoint.operator import Operator
from .rules.checkpoint.outside_file import OutsideFile
from .rules.checkpoint.remote_code import RemoteCode
from .rules.checkpoint.template_reaches import TemplateReaches

CARRIER_DETECTORS: tuple[type[Detector], ...] = (
    NamesHarm,
    RemoteCode,
    CarriesCode,
    TemplateReaches,
    FormatBroken,
    OutsideFile,
    Operator,
    NotebookCommand,
)
