"""The command line: one command for each job, each imported only when it is asked for."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from types import ModuleType
from typing import NoReturn

from .errors import ProjectError

COMMANDS = {
    "ingest": (".data.source", "take a typed snapshot of the contract's source"),
    "feedback": (".data.feedback", "join ground truth with logged predictions, for training"),
    "validate": (".data.validate", "keep the rows that keep the contract, say why others go"),
    "split": (".data.split", "hold rows out for judging the model"),
    "train": (".training.train", "fit the model and the baseline"),
    "evaluate": (".training.evaluate", "measure both on the held-out rows"),
    "gate": (".training.gate", "refuse a model that is not good enough"),
    "export": (".training.export", "write the artefact that is served, and compare it"),
    "serve": (".serving.server", "serve predictions over HTTP"),
}


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command; exit with 0, or with 1 and the reason when it refuses."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding="utf-8")
    given = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog=__package__, description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, purpose) in COMMANDS.items():
        command = commands.add_parser(name, help=purpose, description=purpose)
        if name in given[:1]:
            getattr(_module(name), "arguments", lambda _: None)(command)
    options = vars(parser.parse_args(given))
    name = options.pop("command")
    try:
        _module(name).run(**options)
    except ProjectError as refusal:
        print(f"{name}: {refusal}", file=sys.stderr)
        sys.exit(1)
    sys.exit(0)


def _module(name: str) -> ModuleType:
    return import_module(COMMANDS[name][0], __package__)
