"""Validates documents against schemas: JSON lines of {schema, document} on stdin, paths both. Spoilt ones must be refused.

A schema that lets everything through proves nothing, so each JSON document is spoilt in every way that its schema should see: each required key
taken away, wherever it stands, and one put in that nobody knows where none may be.
"""

import copy
import json
import sys

import jsonschema
import xmlschema


def places(value, path=()):
    """The objects in a document, by how one comes to them."""
    if isinstance(value, dict):
        yield path
        for key, below in value.items():
            yield from places(below, (*path, key))
    elif isinstance(value, list):
        for index, below in enumerate(value[:3]):
            yield from places(below, (*path, index))


def at(document, path):
    for step in path:
        document = document[step]
    return document


def check_json(schema, document):
    validator = jsonschema.validators.validator_for(schema)(schema)
    validator.check_schema(schema)
    errors = [f"{'/'.join(map(str, error.path))}: {error.message}" for error in validator.iter_errors(document)]
    assert not errors, errors
    refused = 0
    for key in schema.get("required", schema.get("$defs", {}).get("runs", {}).get("required", [])):
        spoilt = {name: value for name, value in document.items() if name != key}
        if key in document:
            assert not validator.is_valid(spoilt), f"{key} may be left out"
            refused += 1
    closed = 0
    for path in places(document):
        spoilt = copy.deepcopy(document)
        at(spoilt, path)["nobody knows this"] = {}
        closed += not validator.is_valid(spoilt)
    return refused + closed


def check_xml(schema, document):
    schema = xmlschema.XMLSchema(schema)
    schema.validate(document)
    with open(document, encoding="utf-8") as file:
        text = file.read()
    spoilt = [
        text.replace(' tests="', ' probes="', 1),
        text.replace("<testcase ", "<case ", 1).replace("</testcase>", "</case>", 1),
        text.replace("</testsuites>", "<other/></testsuites>"),
    ]
    for other in spoilt:
        assert other != text
        try:
            valid = schema.is_valid(other)
        except xmlschema.XMLSchemaException:
            valid = False
        except Exception:  # not even well-formed
            valid = False
        assert not valid, "a spoilt document is valid"
    return len(spoilt)


for line in sys.stdin:
    job = json.loads(line)
    if job["schema"].endswith(".xsd"):
        refused = check_xml(job["schema"], job["document"])
    else:
        with open(job["schema"], encoding="utf-8") as file:
            schema = json.load(file)
        with open(job["document"], encoding="utf-8") as file:
            refused = check_json(schema, json.load(file))
    print(json.dumps({"document": job["document"], "refused": refused}))
