"""Run a command while schema-only stand-ins for Terraform providers are being served to it.

    python with_schema_providers.py --schema schema-aws.json.gz -- terraform -chdir=infra validate

Each --schema file comes from `schema_from_bindings.py`. The stand-ins speak the plugin protocol
over a local socket and terraform finds them through TF_REATTACH_PROVIDERS, so nothing is
downloaded. They know every argument, its type and its nesting, but no cloud and no value rules.
The exit status is the command's. Needs `tf`, `grpcio`, `msgpack`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import msgpack
from tf.gen import grpc_controller_pb2 as controller_pb
from tf.gen import grpc_controller_pb2_grpc as controller_rpc
from tf.gen import grpc_stdio_pb2_grpc as stdio_rpc
from tf.gen import tfplugin_pb2 as pb
from tf.gen import tfplugin_pb2_grpc as rpc

Block = dict[str, Any]
UNKNOWN = msgpack.ExtType(0, b"\x00")


def to_block(block: Block) -> pb.Schema.Block:
    """Translate a block of the schema file to the plugin protocol's message."""
    message = pb.Schema.Block()
    for name, (kind, flags) in block["attributes"].items():
        given = {"required": "r" in flags, "optional": "o" in flags, "computed": "c" in flags}
        message.attributes.append(
            pb.Schema.Attribute(name=name, type=json.dumps(kind).encode(), **given)
        )
    for name, (nesting, least, most, inner) in block["blocks"].items():
        mode = pb.Schema.NestedBlock.NestingMode.Value(nesting.upper())
        limits = {"nesting": mode, "min_items": least, "max_items": most}
        message.block_types.append(
            pb.Schema.NestedBlock(type_name=name, block=to_block(inner), **limits)
        )
    return message


def children(block: Block, value: dict[str, Any]) -> Iterator[tuple[Block, dict[str, Any]]]:
    """Yield every known nested block value with its schema."""
    for name, (_, _, _, inner) in block["blocks"].items():
        held = value.get(name)
        for item in held if isinstance(held, list) else [held]:
            if isinstance(item, dict):
                yield inner, item


def read_only(block: Block, value: dict[str, Any]) -> Iterator[str]:
    """Yield the names of the set attributes that only the provider may set."""
    attributes = block["attributes"]
    yield from (
        name for name in attributes if attributes[name][1] == "c" and value.get(name) is not None
    )
    for inner, item in children(block, value):
        yield from read_only(inner, item)


def invent(kind: Any, name: str) -> Any:
    """Make up a value of a cty type: three strings per list, so that slices of them work."""
    if isinstance(kind, str):
        text = "{}" if name in ("json", "policy", "policy_data") else f"stand-in-{name}"
        return {"string": text, "number": 1, "bool": False}.get(kind)
    if kind[0] == "object":
        return {field: invent(inner, field) for field, inner in kind[1].items()}
    if kind[0] == "map":
        return {}
    return (
        [f"stand-in-{name}-{number}" for number in range(3)]
        if kind[1] == "string"
        else [invent(kind[1], name)]
    )


def complete(block: Block, value: dict[str, Any], invented: bool) -> None:
    """Set what a cloud would compute: to an unknown value, or at last to an invented one."""
    for name, (kind, flags) in block["attributes"].items():
        held = value.get(name)
        if ("c" in flags and held is None) or (invented and isinstance(held, msgpack.ExtType)):
            value[name] = invent(kind, name) if invented else UNKNOWN
    for inner, item in children(block, value):
        complete(inner, item, invented)


def answer(response: Any) -> Callable[[Any, Any, Any], Any]:
    """Make a handler that gives every request the same response; () is an empty stream."""
    return lambda self, request, context: iter(response) if response == () else response


class SchemaProvider(rpc.ProviderServicer):
    """A provider that knows its schema and nothing else; the method names are the protocol's."""

    def __init__(self, schema: dict[str, Any]) -> None:
        """Keep the schema file's content."""
        self.schema = schema

    def _completed(self, group: str, request: Any, encoded: Any, invented: bool) -> Any:
        """Decode a value, complete it (unless it is null: a removal) and encode it again."""
        value = msgpack.unpackb(encoded.msgpack)
        if value is not None:
            complete(self.schema[group][request.type_name], value, invented)
        return pb.DynamicValue(msgpack=msgpack.packb(value))

    def GetProviderSchema(self, request: Any, context: Any) -> Any:
        """Return the schema of the provider, its resources and its data sources."""
        response = pb.GetProviderSchema.Response(
            provider=pb.Schema(block=to_block(self.schema["config"]))
        )
        for name, block in self.schema["resources"].items():
            response.resource_schemas[name].block.CopyFrom(to_block(block))
        for name, block in self.schema["data_sources"].items():
            response.data_source_schemas[name].block.CopyFrom(to_block(block))
        return response

    def ValidateResourceConfig(self, request: Any, context: Any) -> Any:
        """Refuse values for read-only attributes: terraform leaves that to the provider."""
        names = read_only(
            self.schema["resources"][request.type_name], msgpack.unpackb(request.config.msgpack)
        )
        errors = [
            pb.Diagnostic(severity="ERROR", summary=f"Value for read-only attribute {name}")
            for name in names
        ]
        return pb.ValidateResourceConfig.Response(diagnostics=errors)

    def UpgradeResourceState(self, request: Any, context: Any) -> Any:
        """Return the stored state as it is."""
        return pb.UpgradeResourceState.Response(
            upgraded_state=pb.DynamicValue(json=request.raw_state.json)
        )

    def ReadResource(self, request: Any, context: Any) -> Any:
        """Report no drift."""
        return pb.ReadResource.Response(new_state=request.current_state)

    def PlanResourceChange(self, request: Any, context: Any) -> Any:
        """Plan what was proposed, with unknown values for what a cloud would compute."""
        planned = self._completed("resources", request, request.proposed_new_state, invented=False)
        return pb.PlanResourceChange.Response(planned_state=planned, legacy_type_system=True)

    def ApplyResourceChange(self, request: Any, context: Any) -> Any:
        """Pretend: the new state is the plan, with invented values."""
        state = self._completed("resources", request, request.planned_state, invented=True)
        return pb.ApplyResourceChange.Response(new_state=state, legacy_type_system=True)

    def ReadDataSource(self, request: Any, context: Any) -> Any:
        """Answer with the configuration and invented values."""
        return pb.ReadDataSource.Response(
            state=self._completed("data_sources", request, request.config, invented=True)
        )

    # terraform has checked the configuration by then, and there is no cloud to sign in to
    ValidateProviderConfig = answer(pb.ValidateProviderConfig.Response())
    ValidateDataResourceConfig = answer(pb.ValidateDataResourceConfig.Response())
    ConfigureProvider = answer(pb.ConfigureProvider.Response())
    StopProvider = answer(pb.StopProvider.Response())
    GetMetadata = answer(pb.GetMetadata.Response())

    # the plugin framework's own: to shut down (who serves decides that) and an output stream
    Shutdown = answer(controller_pb.Empty())
    StreamStdio = answer(())


def serve(schema: dict[str, Any], socket: Path) -> grpc.Server:
    """Start a stand-in provider on a local socket."""
    server = grpc.server(
        futures.ThreadPoolExecutor(8), options=[("grpc.max_send_message_length", -1)]
    )
    provider = SchemaProvider(schema)
    rpc.add_ProviderServicer_to_server(provider, server)
    controller_rpc.add_GRPCControllerServicer_to_server(provider, server)
    stdio_rpc.add_GRPCStdioServicer_to_server(provider, server)
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    return server


@contextmanager
def attached(*schemas: Path) -> Iterator[dict[str, str]]:
    """Serve the schema files and yield the environment in which terraform finds them."""
    with tempfile.TemporaryDirectory(prefix="tf-") as folder:
        plugins = {}
        servers: list[grpc.Server] = []
        for path in schemas:
            schema = json.loads(gzip.decompress(path.read_bytes()))
            socket = Path(folder, f"{len(servers)}.sock")
            servers.append(serve(schema, socket))
            plugin = {"Protocol": "grpc", "ProtocolVersion": 6, "Pid": os.getpid(), "Test": True}
            address = {"Network": "unix", "String": str(socket)}
            plugins[schema["source"]] = {**plugin, "Addr": address}
        try:
            yield {"TF_REATTACH_PROVIDERS": json.dumps(plugins)}
        finally:
            for server in servers:
                server.stop(None)


def main() -> int:
    """Serve the schemas, run the command and return its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "--schema", action="append", required=True, type=Path, help="schema file; repeatable"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- command and its arguments")
    arguments = parser.parse_args()
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        parser.error("no command after --")
    with attached(*arguments.schema) as environment:
        child = subprocess.Popen(command, env={**os.environ, **environment})
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda received, _: child.send_signal(received))
        status = child.wait()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
