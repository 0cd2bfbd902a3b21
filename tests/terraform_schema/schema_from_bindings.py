"""Rebuild a Terraform provider's argument schema from its CDKTF bindings.

The bindings (`cdktn-provider-*` on PyPI, before that `cdktf-cdktf-provider-*`) are generated from
the provider's own schema and keep, per argument, its type, whether it is required, optional or
computed, and whether it is a nested block. This script reads the sources of the wanted types and
writes a small gzipped JSON that `with_schema_providers.py` serves to the real terraform.

Run it again when the configuration uses a new type, or the provider's major changes:

    uv run --with pip tests/terraform_schema/schema_from_bindings.py aws FOLDER_OF_TF_FILES \
        --package cdktn-provider-aws==25.8.1 -o tests/terraform_schema/schema-aws-6.69.json.gz

Output: {"source", "version", "bindings", "config": BLOCK, "resources": {name: BLOCK},
"data_sources": {name: BLOCK}} with BLOCK = {"attributes": {name: [cty type, flags]},
"blocks": {name: [nesting, min_items, max_items, BLOCK]}}; flags are the letters r (required),
o (optional) and c (computed); max_items 0 means unbounded.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

HCL_ENTRY = re.compile(
    r"^ +(?P<name>\w+): \{\n +value: (?P<value>.*),\n +isBlock: \w+,\n"
    r' +type: "(?P<kind>\w+)",\n +storageClassType: "(?P<storage>\w+)",\n', re.M)  # fmt: skip
FLAGS = re.compile(
    r"^ +// (?P<name>\w+) - computed: (?P<c>true|false), "
    r"optional: (?P<o>true|false), required: (?P<r>true|false)\n"
    r"(?P<rest>(?:(?! +// \w+ - computed).*\n?)*)", re.M)  # fmt: skip
INTERFACE_FIELD = re.compile(
    r"#(?P<name>\w+) [^}\n]*\}\n(?:(?! +readonly).*\n)*? +readonly \w+(?P<optional>\??):"
)
STRUCT_MAPPER = re.compile(r"(?<![.\w])(\w+)ToHclTerraform")
GETTER = re.compile(r"get(String|Number|Boolean|Any)?(Map|List)?(List)?Attribute\(")
NESTED_GETTER = re.compile(
    r'= new (\w+?)(List|Map)?(OutputReference)?\(this, "\w+"(?:, (true|false))?'
)
PRIMITIVES = {"string": "string", "number": "number", "boolean": "bool", "any": "dynamic"}


def cty_type(kind: str, storage: str) -> Any:
    """Translate kind and storage class (`set`, `stringList`) to a cty type (["set", "string"])."""
    if kind in ("list", "set", "map"):
        inner = re.sub(r"(List|Map)$", "", storage)
        nested = re.search(r"(List|Map)$", inner)
        return [
            kind,
            cty_type(nested[1].lower(), inner) if nested else PRIMITIVES.get(inner, "dynamic"),
        ]
    return PRIMITIVES.get(storage, "dynamic")


class TypeSource:
    """The generated TypeScript of one resource, data source or provider."""

    def __init__(self, text: str) -> None:
        """Cut the source into its exports, by their heads such as `class EcsService`."""
        parts = re.split(r"^export (?=(?:class|function|interface) )", text, flags=re.M)[1:]
        self.exports = {" ".join(re.findall(r"\w+", part[:200])[:2]): part for part in parts}

    def root(self) -> tuple[str, dict[str, Any]]:
        """Return the Terraform name and the block of the class that stands for the whole type."""
        for part in self.exports.values():
            name = re.search(r'static readonly tfResourceType = "(\w+)"', part)
            if name:
                return name[1], self._block(part, part, "")
        raise ValueError("no Terraform type in this source")

    def _struct(self, name: str) -> dict[str, Any]:
        """Return the block of a nested structure."""
        mapper = f"function {name[0].lower()}{name[1:]}ToHclTerraform"
        wanted = (mapper, f"class {name}OutputReference", f"interface {name}")
        return self._block(*(self.exports.get(export, "") for export in wanted))

    def _block(self, mapper: str, accessors: str, interface: str) -> dict[str, Any]:
        """Combine the arguments of `mapper` with the flags and attributes of `accessors`."""
        found_flags = {found["name"]: found for found in FLAGS.finditer(accessors)}
        flags = {
            name: "".join(f for f in "roc" if found[f] == "true")
            for name, found in found_flags.items()
        }
        for found in INTERFACE_FIELD.finditer(interface):
            flags.setdefault(found["name"], "o" if found["optional"] else "r")
        attributes: dict[str, Any] = {}
        blocks: dict[str, Any] = {}
        for found in HCL_ENTRY.finditer(mapper):
            name, kind = found["name"], found["kind"]
            struct = STRUCT_MAPPER.search(found["value"])
            if not struct:
                attributes[name] = [cty_type(kind, found["storage"]), flags.get(name, "o")]
                continue
            inner = self._struct(struct[1][0].upper() + struct[1][1:])
            mapped = re.search(r"(?:list|hash)MapperHcl\(\w+(?:, (true|false))?\)", found["value"])
            if (
                mapped and mapped[1] != "true"
            ):  # an attribute that holds objects, such as aws_security_group.ingress
                attributes[name] = [[kind, self._object(inner)], flags.get(name, "o")]
            else:
                nesting = "single" if kind == "struct" else kind
                least = int("r" in flags.get(name, "") and nesting != "single")
                blocks[name] = [nesting, least, 0 if mapped or nesting == "single" else 1, inner]
        for name in sorted(found_flags.keys() - attributes.keys() - blocks.keys()):
            attributes[name] = [self._read_only_type(found_flags[name]["rest"]), flags[name]]
        return {"attributes": attributes, "blocks": blocks}

    def _read_only_type(self, accessor: str) -> Any:
        """Derive the type of an attribute that cannot be set from the way the bindings read it."""
        nested = NESTED_GETTER.search(accessor)
        if nested and not nested[1].startswith("cdkt"):
            kind = "map" if nested[2] == "Map" else "set" if nested[4] == "true" else "list"
            return [kind, self._object(self._struct(nested[1]))]
        getter = GETTER.search(accessor)
        if not getter:
            named = re.search(r"cdkt[fn]\.(String|Number|Boolean|Any)(Map|List)", accessor)
            return [named[2].lower(), PRIMITIVES[named[1].lower()]] if named else "dynamic"
        primitive = PRIMITIVES[(getter[1] or "String").lower()]
        if not getter[2]:
            return primitive
        outer = "set" if "Fn.tolist(" in accessor else "list"
        return (
            [outer, ["map", primitive]]
            if getter[3]
            else ["map" if getter[2] == "Map" else outer, primitive]
        )

    def _object(self, block: dict[str, Any]) -> Any:
        """Turn a block into the cty object type that an attribute of it has."""
        fields = {name: attribute[0] for name, attribute in block["attributes"].items()}
        for name, (nesting, _, _, inner) in block["blocks"].items():
            fields[name] = (
                self._object(inner) if nesting == "single" else [nesting, self._object(inner)]
            )
        return ["object", fields]


def wanted_types(provider: str, wanted: list[str]) -> set[str]:
    """Expand folders of .tf files, and text files with a type per line, to names of types."""
    names: set[str] = set()
    for item in wanted:
        path = Path(item)
        if path.is_dir():
            text = "\n".join(file.read_text() for file in sorted(path.rglob("*.tf")))
            for block, name in re.findall(r'^\s*(resource|data)\s+"(\w+)"', text, re.M):
                names.add(name if block == "resource" else f"data.{name}")
        elif path.is_file():
            names.update(line.split("#")[0].strip() for line in path.read_text().splitlines())
        else:
            names.add(item)
    return {name for name in names if name.removeprefix("data.").startswith(f"{provider}_")}


def content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """The bytes of a file in an archive."""
    file = tar.extractfile(member)
    if file is None:
        raise SystemExit(f"{member.name} is no file in the bindings: take another version of them")
    return file.read()


def read_bindings(wheel: Path, provider: str, names: set[str]) -> dict[str, Any]:
    """Read the wanted types and the provider's configuration from a bindings wheel."""
    prefix = re.compile(
        rf"^{provider}-|^data\.(?={provider})"
    )  # aws_lb: lb; data.aws_lb: data-aws-lb
    folders = {"provider"} | {
        prefix.sub(lambda m: "data-" * ("." in m[0]), name.replace("_", "-")) for name in names
    }
    sources: dict[str, str] = {}
    package: dict[str, Any] = {}
    with zipfile.ZipFile(wheel) as archive:
        bundle = next(name for name in archive.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(archive.read(bundle)), mode="r:gz") as tar:
            for member in tar:
                parts = member.name.split("/")
                if parts[1:] == ["package.json"]:
                    package = json.loads(content(tar, member))
                elif (
                    parts[1] == "lib"
                    and len(parts) > 3
                    and parts[2] in folders
                    and member.name.endswith(".js")
                ):
                    script = content(tar, member).decode("utf-8")
                    source_map = json.loads(base64.b64decode(script.rpartition("base64,")[2]))
                    sources[parts[2]] = "\n".join(
                        [sources.get(parts[2], ""), *source_map["sourcesContent"]]
                    )
    schema: dict[str, Any] = {
        "source": package["cdktf"]["provider"]["name"].partition("/")[2],
        "version": package["cdktf"]["provider"]["version"],
        "bindings": wheel.name.partition("-py")[0],
        "config": TypeSource(sources.pop("provider")).root()[1],
        "resources": {},
        "data_sources": {},
    }
    for folder, text in sorted(sources.items()):
        name, block = TypeSource(text).root()
        schema["data_sources" if folder.startswith(f"data-{provider}-") else "resources"][name] = (
            block
        )
    found = set(schema["resources"]) | {f"data.{name}" for name in schema["data_sources"]}
    if names - found:
        sys.exit(f"not in {wheel.name}: {', '.join(sorted(names - found))}")
    return schema


def main() -> None:
    """Parse the arguments, fetch the bindings and write the schema."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "provider",
        help="aws, google, azurerm, or another provider with bindings (random, tls, ...)",
    )
    parser.add_argument(
        "wanted",
        nargs="+",
        help="type names (data.NAME: data sources), .tf folders, files of names",
    )
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument(
        "--package", help="pip requirement of the bindings; default cdktf-cdktf-provider-PROVIDER"
    )
    parser.add_argument(
        "--wheel", type=Path, help="a bindings wheel that is already here, instead of --package"
    )
    arguments = parser.parse_args()
    names = wanted_types(arguments.provider, arguments.wanted)
    with tempfile.TemporaryDirectory() as folder:
        wheel = arguments.wheel
        if wheel is None:
            requirement = arguments.package or f"cdktf-cdktf-provider-{arguments.provider}"
            pip = [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                "--only-binary=:all:",
                "--dest",
            ]
            subprocess.run([*pip, folder, requirement], check=True)
            wheel = next(Path(folder).glob("*.whl"))
        schema = read_bindings(wheel, arguments.provider, names)
    text = json.dumps(schema, separators=(",", ":"), sort_keys=True)
    arguments.output.write_bytes(gzip.compress(text.encode(), mtime=0))
    print(f"{arguments.output}: {schema['source']} {schema['version']}, {len(names)} types")


if __name__ == "__main__":
    main()
