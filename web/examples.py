"""Examples of JSON made from its schema, and types in words; for the documentation page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TEXTS = {
    "date-time": "2026-12-24T18:00:00Z",
    "uuid": "3f2b8c1e-5d4a-4f6b-9c7d-8e1f2a3b4c5d",
    "uri": "https://example.com/hook",
}
_DEEPEST = 5


class Examples:
    """Examples and words for the schemas of one document."""

    def __init__(self, schemas: Mapping[str, Any]) -> None:
        """`schemas` are those that references lead to, by name."""
        self._schemas = schemas

    def of(self, schema: Mapping[str, Any], depth: int = 0) -> Any:
        """A value that the schema allows, or nearly."""
        if "$ref" in schema:
            return self.of(self._schemas[_name(schema)], depth + 1) if depth < _DEEPEST else {}
        if schema.get("examples"):
            return schema["examples"][0]
        for key in ("const", "default"):
            if schema.get(key) is not None:
                return schema[key]
        if schema.get("enum"):
            return schema["enum"][0]
        kinds = [kind for kind in schema.get("anyOf", schema.get("oneOf", ())) if kind.get("type") != "null"]
        if kinds:
            return self.of(kinds[0], depth)
        return self._of_type(schema, depth)

    def _of_type(self, schema: Mapping[str, Any], depth: int) -> Any:
        kind = schema.get("type")
        if kind == "object":
            return {name: self.of(found, depth + 1) for name, found in schema.get("properties", {}).items()}
        if kind == "array":
            return [self.of(schema.get("items", {}), depth + 1)] if depth < _DEEPEST else []
        if kind == "string":
            return _TEXTS.get(schema.get("format", ""), "text")
        if kind == "integer":
            return max(1, schema.get("minimum", 1))
        return {"number": 1.5, "boolean": True}.get(str(kind), {})

    def words(self, schema: Mapping[str, Any]) -> str:
        """The type of a value, as a person would say it."""
        if "$ref" in schema:
            return _name(schema)
        kinds = schema.get("anyOf", schema.get("oneOf"))
        if kinds:
            return " or ".join(dict.fromkeys(self.words(kind) for kind in kinds))
        if "enum" in schema:
            return ", ".join(map(str, schema["enum"]))
        if "const" in schema:
            return str(schema["const"])
        if schema.get("type") == "array":
            return f"list of {self.words(schema.get('items', {}))}"
        kind = schema.get("format") or schema.get("type") or "any"
        return f"{kind}{_range(schema)}"


def _range(schema: Mapping[str, Any]) -> str:
    low = schema.get("minimum", schema.get("exclusiveMinimum", schema.get("minLength")))
    high = schema.get("maximum", schema.get("exclusiveMaximum", schema.get("maxLength")))
    unit = " characters" if "maxLength" in schema or "minLength" in schema else ""
    if high is not None and high >= 2**53:
        high = None
    if high is None:
        return "" if low is None else f" from {low}{unit}"
    return f" up to {high:g}{unit}" if low is None else f" {low:g} to {high:g}{unit}"


def _name(schema: Mapping[str, Any]) -> str:
    return str(schema["$ref"]).rpartition("/")[2]
