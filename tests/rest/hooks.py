"""For schemathesis: what it does not know of our JSON. SCHEMATHESIS_HOOKS=hooks.py"""

import json

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def write(_, value):
    """One request, as one line; what is no JSON as it is."""
    return {"data": value if isinstance(value, bytes) else json.dumps(value).encode() + b"\n"}


@schemathesis.deserializer("application/x-ndjson")
def read(_, response):
    """The first line, which every answer has."""
    return json.loads(response.content.split(b"\n")[0])


def has_null(value):
    if isinstance(value, (dict, list)):
        return any(map(has_null, value.values() if isinstance(value, dict) else value))
    return value is None


@schemathesis.hook
def filter_case(_, case):
    """In protobuf's JSON null is a field that is unset; the document does not offer it, and it is no mistake."""
    return not has_null(case.body)
