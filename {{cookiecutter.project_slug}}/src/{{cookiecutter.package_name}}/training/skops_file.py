"""scikit-learn objects on disk: skops files, never a pickle, the same bytes for the same object."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import skops.io
from skops.io.exceptions import UntrustedTypesFoundException

from ..errors import ExportError
from ..files import write_bytes
from ..trusted import TRUSTED_TYPES

_EPOCH = (1980, 1, 1, 0, 0, 0)


def save(path: Path, thing: Any) -> None:
    """Write `thing`, numbering what skops names by memory address and leaving out its dates.

    Raises:
        ExportError: it holds a type that would not be trusted when the file is loaded.
    """
    content = skops.io.dumps(thing)
    unknown = sorted(set(skops.io.get_untrusted_types(data=content)) - set(TRUSTED_TYPES))
    if unknown:
        raise ExportError(
            f"{path}: {', '.join(unknown)} would not be trusted on load; name another"
            " estimator in params.yaml, or review the type and add it to trusted.py"
        )
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        schema = json.loads(archive.read("schema.json"))
        names = _number(schema, {}, {})
        parts = {new: archive.read(old) for old, new in names.items()}
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w") as archive:
        for name, part in {"schema.json": json.dumps(schema).encode("utf-8"), **parts}.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), part, zipfile.ZIP_DEFLATED)
    write_bytes(path, result.getvalue())


def load(path: Path) -> Any:
    """Read what `save` wrote; only trusted types are built.

    Raises:
        ExportError: it is no skops file, or holds another type.
    """
    try:
        return skops.io.load(path, trusted=list(TRUSTED_TYPES))
    except (zipfile.BadZipFile, UntrustedTypesFoundException) as fault:
        raise ExportError(f"{path} cannot be read ({fault}); run `make train`") from None


def _number(node: Any, addresses: dict[int, int], names: dict[str, str]) -> dict[str, str]:
    """Replace addresses and file names in a schema by their order; return old name to new."""
    if isinstance(node, dict):
        if "__id__" in node:
            node["__id__"] = addresses.setdefault(node["__id__"], len(addresses))
        if isinstance(name := node.get("file"), str):
            node["file"] = names.setdefault(name, f"{len(names)}{Path(name).suffix}")
    for child in node.values() if isinstance(node, dict) else node:
        if isinstance(child, dict | list):
            _number(child, addresses, names)
    return names
