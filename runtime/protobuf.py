"""The one door to protobuf; declares messages in lines of proto2, so that a file is read without generated code."""

from __future__ import annotations

from typing import Any

from . import mindspore_versions

mindspore_versions.choose_protobuf()  # protobuf reads the variable once, when it is imported

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # noqa: E402
from google.protobuf.message import DecodeError as DecodeError  # noqa: E402

FIELD = descriptor_pb2.FieldDescriptorProto
SCALARS = {"string": FIELD.TYPE_STRING, "bytes": FIELD.TYPE_BYTES, "int64": FIELD.TYPE_INT64}
LABELS = {"optional": FIELD.LABEL_OPTIONAL, "required": FIELD.LABEL_REQUIRED, "repeated": FIELD.LABEL_REPEATED}


def message_class(name: str, messages: dict[str, tuple[str, ...]]) -> type[Any]:
    """The class of the message `name`.

    Args:
        messages: message -> its fields as proto2 writes them, such as "repeated Node node = 1". Only the fields that
            are looked at need to be named: all others stay in a message as they were read, and are written with it.
    """
    file = descriptor_pb2.FileDescriptorProto(name=f"glorext_{name}.proto", package="glorext", syntax="proto2")
    for message, fields in messages.items():
        declared = file.message_type.add(name=message)
        for line in fields:
            label, kind, field, _, number = line.split()
            entry = declared.field.add(name=field, number=int(number), label=LABELS[label])
            if kind in SCALARS:
                entry.type = SCALARS[kind]
            else:
                entry.type, entry.type_name = FIELD.TYPE_MESSAGE, f".glorext.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"glorext.{name}"))
