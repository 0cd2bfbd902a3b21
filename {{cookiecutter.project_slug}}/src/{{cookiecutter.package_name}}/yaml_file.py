"""A YAML file as a frozen model: unknown keys and wrong types are refused by name."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import ProjectError

REMEDIES = {"extra_forbidden": "; remove it, or correct its name", "missing": "; add it"}
"""For faults whose message does not say what to do."""
FROM_HERE = "run the command from the project's folder"


class Strict(BaseModel):
    """Frozen, no unknown key, no conversion between types, no number that is not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


T = TypeVar("T", bound=Strict)
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, many times as quick


def parse(text: str | bytes) -> Any:
    """What YAML holds; tags that would build objects are refused.

    Raises:
        ValueError: it is no YAML, or nested too deeply.
    """
    try:
        return yaml.load(text, LOADER)  # noqa: S506  (both loaders are safe ones)
    except (yaml.YAMLError, RecursionError) as fault:
        raise ValueError(str(fault)) from fault


def load_yaml(path: Path, model: type[T], error: type[ProjectError], remedy: str) -> T:
    """Read `path` as `model`; `remedy` says what to do where there is no such file.

    Raises:
        error: the file cannot be read, is no YAML, or breaks a rule; a line for each key at fault.
    """
    try:
        content = parse(path.read_text(encoding="utf-8"))
    except OSError as fault:
        raise error(f"{path} cannot be read ({fault.strerror}); {remedy}") from None
    except ValueError as fault:
        raise error(f"{path} cannot be read as YAML: {fault}") from fault
    return validated(content, str(path), model, error)


def validated(content: Any, where: str, model: type[T], error: type[ProjectError]) -> T:
    """`content` as `model`; `where` says where it stands.

    Raises:
        error: it breaks a rule; a line for each key at fault.
    """
    try:
        return model.model_validate(content)
    except ValidationError as fault:
        lines = [
            f"{where}: {'.'.join(map(str, each['loc'])) or 'the file'}: {each['msg']}"
            f" (found {each['input']!r:.80}){REMEDIES.get(each['type'], '')}"
            for each in fault.errors()
        ]
        raise error("\n".join(lines)) from None
