"""Objects against the structural schemas by which Kubernetes takes custom kinds: types, bounds, what is required, and no name that nobody knows."""

import re

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float)}
# Bounds of a value: the schema's word, and whether the value keeps it.
BOUNDS = {
    "enum": lambda value, allowed: value in allowed,
    "pattern": lambda value, pattern: re.search(pattern, value),
    "minLength": lambda value, bound: len(value) >= bound,
    "maxLength": lambda value, bound: len(value) <= bound,
    "minItems": lambda value, bound: len(value) >= bound,
    "maxItems": lambda value, bound: len(value) <= bound,
    "minimum": lambda value, bound: value >= bound,
    "maximum": lambda value, bound: value <= bound,
}
KNOWN = {*BOUNDS, "type", "properties", "required", "items", "additionalProperties", "anyOf", "x-kubernetes-int-or-string"}


def faults(schema, value, path=""):
    """What is wrong with a value, as lines; nothing if it is taken."""
    if unknown := set(schema) - KNOWN:
        yield f"{path}: the schema says {sorted(unknown)}, which is not understood here"
    if schema.get("x-kubernetes-int-or-string"):
        fits = isinstance(value, (int, str)) and not isinstance(value, bool)
    else:
        kind = schema.get("type")
        # (In Python a bool is an int.)
        fits = kind is None or isinstance(value, TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))
    if not fits:
        yield f"{path}: {value!r} is no {schema.get('type', 'number or text')}"
        return
    for word, keeps in BOUNDS.items():
        of_its_kind = isinstance(value, str) or word not in ("pattern", "minLength", "maxLength")
        if word in schema and of_its_kind and not keeps(value, schema[word]):
            yield f"{path}: {value!r} has not the {word} {schema[word]!r}"
    if "anyOf" in schema and not any(not list(faults(choice, value, path)) for choice in schema["anyOf"]):
        yield f"{path}: {value!r} is none of what it may be"
    if isinstance(value, dict):
        yield from faults_of_members(schema, value, path)
    if isinstance(value, list) and "items" in schema:
        for nth, each in enumerate(value):
            yield from faults(schema["items"], each, f"{path}[{nth}]")


def faults_of_members(schema, value, path):
    for name in schema.get("required", []):
        if name not in value:
            yield f"{path}: {name} is missing"
    properties, others = schema.get("properties"), schema.get("additionalProperties")
    for name, member in value.items():
        if properties and name in properties:
            yield from faults(properties[name], member, f"{path}.{name}")
        elif isinstance(others, dict):
            yield from faults(others, member, f"{path}.{name}")
        elif properties is not None and not others:
            yield f"{path}: nobody knows {name}"
