"""Request bodies in Kubernetes' protobuf, which some kubectl commands send and nobody can refuse."""

import base64
from datetime import UTC, datetime
from functools import cache
from typing import Any

import orjson
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from aegis.simulator.kubernetes.errors import bad_request
from aegis.simulator.kubernetes.objects import Object, timestamp
from aegis.simulator.kubernetes.recordings import recorded
from aegis.simulator.kubernetes.schema import fields_of

MAGIC = b"k8s\0"

_META = "k8s.io.apimachinery.pkg.apis.meta.v1"


def decode(body: bytes) -> Object:
    """Return the object of a protobuf body as JSON would have it.

    Raises:
        ApiError: 400, it is not one.
    """
    try:
        envelope: Any = _message("k8s.io.apimachinery.pkg.runtime.Unknown", body.removeprefix(MAGIC))
        api_version, kind = envelope.typeMeta.apiVersion, envelope.typeMeta.kind
        message = _message(f"{_package(api_version, kind)}.{kind}", envelope.raw)
    except (DecodeError, KeyError) as error:
        raise bad_request(f"cannot decode the protobuf body: {error}") from error
    return {"apiVersion": api_version, "kind": kind, **_to_json(message)}


def _package(api_version: str, kind: str) -> str:
    if kind == "DeleteOptions":
        return _META
    group, _, version = api_version.rpartition("/")
    return f"k8s.io.api.{(group or 'core').split('.')[0]}.{version}"


def _message(name: str, raw: bytes) -> Message:
    message = message_factory.GetMessageClass(_pool().FindMessageTypeByName(name))()
    message.ParseFromString(raw)
    return message


@cache
def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(recorded("protobuf-descriptors.bin")).file:
        pool.Add(file)
    return pool


def _to_json(message: Any) -> Any:
    match message.DESCRIPTOR.name:
        case "Quantity":
            return message.string
        case "Time" | "MicroTime":
            return timestamp(datetime.fromtimestamp(message.seconds, UTC)) if message.seconds else None
        case "IntOrString":
            return message.intVal if message.type == 0 else message.strVal
        case "FieldsV1":
            return orjson.loads(message.Raw)
        case "RawExtension":
            return orjson.loads(message.raw)
        case _:
            return _struct_to_json(message)


def _struct_to_json(message: Any) -> Object:
    known = fields_of("io." + message.DESCRIPTOR.full_name.replace("k8s.io.", "k8s.", 1))
    result: Object = {}
    for field, value in message.ListFields():
        converted = _field_to_json(field, value)
        if converted is None or converted == "":
            continue
        if known and field.name not in known and isinstance(converted, dict):
            result.update(converted)  # Go inlines this struct into its parent
        else:
            result[field.name] = converted
    return result


def _field_to_json(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return {key: _value_to_json(each) for key, each in value.items()}
    if field.is_repeated:
        return [_value_to_json(each) for each in value]
    return _value_to_json(value)


def _value_to_json(value: Any) -> Any:
    if isinstance(value, Message):
        return _to_json(value)
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value
