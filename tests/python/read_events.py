"""Reads keyferry's events with nothing but the schema and stock protobuf.

    read_events.py PROTO_DIR FILE [COPY]

PROTO_DIR is the folder `proto` of keyferry. FILE holds encoded events, each behind its length as a
varint: what protobuf calls delimited. (A record of Kafka is one event, without a length.) Prints one
line of JSON an event, in protobuf's own JSON form: bytes as base64, 64-bit integers as text, enums
by name. With COPY, writes the events there again, as this protobuf encodes them.
"""

import importlib
import json
import sys
import tempfile
from pathlib import Path

import grpc_tools
from google.protobuf import json_format, proto
from grpc_tools import protoc


def generate(protos: Path, out: str):
    """Generates code from the schema, and imports it."""
    files = sorted(str(path.relative_to(protos)) for path in protos.rglob("*.proto"))
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    arguments = [f"--proto_path={protos}", f"--proto_path={well_known}", f"--python_out={out}"]
    if protoc.main(["protoc", *arguments, *files]) != 0:
        sys.exit(f"protoc refused {files}")
    sys.path.insert(0, out)
    return importlib.import_module("keyferry.v1.change_pb2")


def main():
    protos, path, *copies = (Path(argument).absolute() for argument in sys.argv[1:])
    copies = [copy.open("wb") for copy in copies]
    with tempfile.TemporaryDirectory() as out, path.open("rb") as file:
        change = generate(protos, out)
        while (event := proto.parse_length_prefixed(change.ChangeEvent, file)) is not None:
            if event.schema > 1:
                sys.exit(f"schema {event.schema} is newer than 1: fields may mean something else")
            if event.WhichOneof("body") is None:
                sys.exit("an event of a kind that this schema does not have: not to be skipped")
            print(json.dumps(json_format.MessageToDict(event, preserving_proto_field_name=True)))
            for copy in copies:
                proto.serialize_length_prefixed(event, copy)
    for copy in copies:
        copy.close()


if __name__ == "__main__":
    main()
