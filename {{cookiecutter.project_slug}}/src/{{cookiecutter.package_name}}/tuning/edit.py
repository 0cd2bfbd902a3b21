"""Edit: other parameters in the text of params.yaml, and every other byte as it was."""

import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import yaml

from ..errors import ParamsError


def with_parameters(text: str, profile: str, parameters: Mapping[str, Any]) -> str:
    """The text with these values under model.profiles.PROFILE.parameters; others there stay.

    Raises:
        ParamsError: the place cannot be edited, as where an anchor is shared; says what to write.
    """
    before = yaml.safe_load(text)
    wanted = deepcopy(before)
    present = before["model"]["profiles"][profile]["parameters"]
    changed = {name: parameters[name] for name in parameters if _differs(present, parameters, name)}
    wanted["model"]["profiles"][profile]["parameters"] = present | changed
    edited = _edited(text, ("model", "profiles", profile, "parameters"), changed)
    try:
        same = yaml.safe_load(edited) == wanted
    except yaml.YAMLError:
        same = False
    if not same:
        raise ParamsError(
            f"params.yaml: model.profiles.{profile}.parameters is written in a way that cannot be"
            f" edited here; write there {_flow(changed)}"
        )
    return edited


def _differs(present: Mapping[str, Any], parameters: Mapping[str, Any], name: str) -> bool:
    return name not in present or present[name] != parameters[name]


def _edited(text: str, keys: tuple[str, ...], changed: Mapping[str, Any]) -> str:
    node: Any = yaml.compose(text, yaml.SafeLoader)
    for key in keys:
        node = next(value for name, value in node.value if name.value == key)
    there = {name.value: value for name, value in node.value}
    edits = [
        (there[name].start_mark.index, there[name].end_mark.index, _flow([value])[1:-1])
        for name, value in changed.items()
        if name in there
    ]
    added = [_flow({name: value})[1:-1] for name, value in changed.items() if name not in there]
    if added and node.flow_style:
        end = node.end_mark.index - 1
        edits.append((end, end, ", " * bool(there) + ", ".join(added)))
    elif added:
        first, last = node.value[0][0], node.value[-1][1]
        # A comment may follow the last value; a block ends where the next one begins.
        end = len(text[: last.end_mark.index].rstrip())
        line = re.compile(r"\r?\n|\Z").search(text, end)
        end = line.start() if line else end
        indent = ("\r\n" if "\r\n" in text else "\n") + " " * first.start_mark.column
        edits.append((end, end, "".join(indent + each for each in added)))
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _flow(content: Any) -> str:
    """On one line, as YAML."""
    written: str = yaml.safe_dump(
        content, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000
    )
    return written.strip()
