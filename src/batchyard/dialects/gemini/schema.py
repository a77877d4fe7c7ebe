"""Gemini's schemas, a subset of OpenAPI's, as plain JSON Schema."""

from batchyard.dialects.gemini import reading as read
from batchyard.dialects.gemini.spelling import Json
from batchyard.dialects.gemini.unfit import Unfit

TYPES = frozenset({"string", "number", "integer", "boolean", "array", "object", "null"})
_NUMBERS = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")
_SAME = ("title", "description", "enum", "pattern", "minimum", "maximum", "required", "additionalProperties")
_KEPT_FORMATS = frozenset({"date", "date-time", "time", "duration", "email", "uuid", "uri"})
_DEEPEST = 64


def json_schema(schema: object, field: str, depth: int = 0) -> Json:
    """A schema with its keys in camelCase, as JSON Schema says it. Raises Unfit."""
    if depth > _DEEPEST:
        raise Unfit(f"'{field}' nests deeper than {_DEEPEST} levels.", field)
    given = read.an_object(schema, field)
    said: Json = {key: given[key] for key in _SAME if given.get(key) is not None}
    said |= {key: read.whole(given[key], f"{field}.{key}") for key in _NUMBERS if given.get(key) is not None}
    _put_type(said, given, field)
    if str(given.get("format")) in _KEPT_FORMATS:
        said["format"] = given["format"]
    if given.get("items") is not None:
        said["items"] = json_schema(given["items"], f"{field}.items", depth + 1)
    if given.get("properties") is not None:
        said["properties"] = _properties(given, field, depth)
    if given.get("anyOf") is not None:
        choices = read.an_array(given["anyOf"], f"{field}.anyOf")
        said["anyOf"] = [json_schema(each, f"{field}.anyOf[{n}]", depth + 1) for n, each in enumerate(choices)]
        if given.get("nullable"):
            said["anyOf"].append({"type": "null"})
    return said


def _put_type(said: Json, given: Json, field: str) -> None:
    kind = given.get("type")
    if kind is None or kind == "TYPE_UNSPECIFIED":
        return
    name = str(kind).lower()
    if name not in TYPES:
        raise Unfit(f"'{kind}' is no type of a schema.", f"{field}.type", f"Types are {', '.join(sorted(TYPES))}.")
    if not given.get("nullable"):
        said["type"] = name
        return
    said["type"] = [name, "null"]
    if "enum" in said:
        said["enum"] = [*read.an_array(said["enum"], f"{field}.enum"), None]


def _properties(given: Json, field: str, depth: int) -> Json:
    """The properties, in the order that was asked for: models write them in the order of the schema."""
    properties = read.an_object(given["properties"], f"{field}.properties")
    order = read.an_array(given.get("propertyOrdering") or [], f"{field}.propertyOrdering")
    names = [name for name in map(str, order) if name in properties]
    names += [name for name in properties if name not in names]
    return {name: json_schema(properties[name], f"{field}.properties.{name}", depth + 1) for name in names}
