"""The command line: one command for each job, each imported only when it is asked for."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import NoReturn

from .errors import ProjectError

COMMANDS = {
    "adopt": (".adopt.adopt", "describe a table that is new here by a contract"),
    "accept": (".data.validate:accept", "make the validated rows the reference for drift"),
    "fetch": (".data.fetch", "take the contract's table again from where it came from"),
    "ingest": (".data.ingest", "take a typed snapshot of the contract's source"),
    "validate": (".data.validate", "keep the rows that keep the contract, say why others go"),
    "split": (".data.split", "hold rows out for judging the model"),
    "train": (".training.train", "fit the model and the baseline"),
    "evaluate": (".training.evaluate", "measure both on the held-out rows"),
    "gate": (".training.gate", "refuse a model that is not good enough"),
    "export": (".training.export", "write the artefact that is served, and compare it"),
    "report": (".data.report", "write a page on the dataset that was validated last"),
    "serve": (".serving.server", "serve predictions over HTTP"),
}


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command; exit with 0, or with 1 and the reason when it refuses."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding="utf-8")
    parser = argparse.ArgumentParser(prog=__package__, description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    parsers = {
        name: commands.add_parser(name, help=purpose, description=purpose, add_help=False)
        for name, (_, purpose) in COMMANDS.items()
    }
    command = parser.parse_known_args(arguments)[0].command
    try:
        place, _, function = COMMANDS[command][0].partition(":")
        module = import_module(place, __package__)
        getattr(module, "arguments", lambda _: None)(parsers[command])
        given = vars(parser.parse_args(arguments))
        del given["command"]
        getattr(module, function or "run")(**given)
    except ProjectError as refusal:
        print(f"{command}: {refusal}", file=sys.stderr)
        sys.exit(1)
    sys.exit(0)
