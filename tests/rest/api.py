"""A service's API as its reflection says it, called both ways: by gRPC, and over REST by the rules of google.api.http,
which are written here once more, so that nothing is shared with the server."""

import http.client
import json
import re
import urllib.parse

import grpc
from google.api import annotations_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.rpc import code_pb2, error_details_pb2, status_pb2  # pylint: disable=unused-import
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

TIMEOUT_S = 60
UNAVAILABLE = code_pb2.UNAVAILABLE
HTTP_STATUS = {"INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "OUT_OF_RANGE": 400, "UNAUTHENTICATED": 401,
               "PERMISSION_DENIED": 403, "NOT_FOUND": 404, "ALREADY_EXISTS": 409, "ABORTED": 409,
               "RESOURCE_EXHAUSTED": 429, "UNIMPLEMENTED": 501, "UNAVAILABLE": 503, "DEADLINE_EXCEEDED": 504}


def as_json(message):
    return json_format.MessageToDict(message, including_default_value_fields=True)


def channel_of_nobody(address, ca):
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(ca))


def channel(address, certificate, *options):
    credentials = grpc.ssl_channel_credentials(certificate.ca.read_bytes(), certificate.key.read_bytes(),
                                               certificate.certificate.read_bytes())
    return grpc.secure_channel(address, credentials, options)


class Rpc:

    def __init__(self, descriptor):
        self.short_name = descriptor.name
        self.path = "/%s/%s" % (descriptor.containing_service.full_name, descriptor.name)
        self.streams = descriptor.server_streaming
        self.uploads = descriptor.client_streaming
        options = descriptor.GetOptions()
        access = options.Extensions[descriptor_pool.Default().FindExtensionByName("parley.access.v1.access")]
        role = descriptor_pool.Default().FindEnumTypeByName("parley.access.v1.Role")
        self.roles = {role.values_by_number[number].name[len("ROLE_"):].lower() for number in access.roles}
        rule = options.Extensions[annotations_pb2.http]
        self.method = (rule.WhichOneof("pattern") or "").upper()
        self.template = getattr(rule, self.method.lower()) if self.method else ""
        self.body = rule.body
        self._request = message_factory.GetMessageClass(descriptor.input_type)
        self._response = message_factory.GetMessageClass(descriptor.output_type)

    def by_grpc(self, connection, request, at_most=None):
        """{"replies": as JSON, at_most so many, "error": google.rpc.Status as JSON or None}."""
        message = json_format.ParseDict(request, self._request())
        call = connection.stream_stream(self.path, self._request.SerializeToString, self._response.FromString)(
            iter([message]), timeout=TIMEOUT_S)
        replies = []
        try:
            for reply in call:
                replies.append(as_json(reply))
                if len(replies) == at_most:
                    call.cancel()
                    break
        except grpc.RpcError as error:
            status = status_pb2.Status(code=error.code().value[0], message=error.details())
            for key, value in error.trailing_metadata() or ():
                if key == "grpc-status-details-bin":
                    status.ParseFromString(value)
            return {"replies": replies, "error": as_json(status)}
        return {"replies": replies, "error": None}

    def http_request(self, request):
        """(method, target, body) of a request given as JSON."""

        def value(match):
            field = re.sub("_(.)", lambda letter: letter.group(1).upper(), match.group(1))
            used.add(field)
            return urllib.parse.quote(request[field], safe="/")

        used = set()
        target = re.sub(r"{(\w+)(?:=[^}]*)?}", value, self.template)
        if self.body:
            return self.method, target, json.dumps(request)
        query = []
        for name, given in request.items():
            if isinstance(given, dict):
                query += [("%s[%s]" % (name, key), text) for key, text in given.items()]
            elif name not in used:
                query += [(name, each) for each in (given if isinstance(given, list) else [given])]
        return self.method, target + ("?" + urllib.parse.urlencode(query) if query else ""), None

    def http_bytes(self, request):
        """A whole HTTP request; any when there is no route."""
        method, target, body = self.http_request(request) if self.method else ("GET", "/openapi.json", None)
        body = (body or "").encode()
        return ("%s %s HTTP/1.1\r\nHost: parley\r\nConnection: close\r\nContent-Type: application/json\r\n"
                "Content-Length: %d\r\n\r\n" % (method, target, len(body))).encode() + body

    def by_rest(self, connection, request, at_most=None):
        """As by_grpc, and the HTTP status must be the one of the error."""
        method, target, body = self.http_request(request)
        connection.request(method, target, body, {"Content-Type": "application/json"} if body is not None else {})
        response = connection.getresponse()
        answer = {"replies": [], "error": None}
        if response.status != 200:
            answer["error"] = json.loads(response.read())
        elif not self.streams:
            answer["replies"] = [json.loads(response.read())]
        else:
            for line in response:
                line = json.loads(line)
                if "error" in line:
                    answer["error"] = line["error"]
                    continue
                answer["replies"].append(line["result"])
                if len(answer["replies"]) == at_most:
                    break
        if self.streams:
            connection.close()
        error = answer["error"]
        expected = HTTP_STATUS[code_pb2.Code.Name(error["code"])] if error and not answer["replies"] else 200
        if response.status != expected:
            raise AssertionError("HTTP status %d instead of %d: %s" % (response.status, expected, answer))
        return answer


def connect(address, certificate):
    host, port = address.split(":")
    return http.client.HTTPSConnection(host, int(port), context=certificate.context(), timeout=TIMEOUT_S)


def reflected(connection):
    """The RPCs of Parley that the server behind the channel says it has."""
    database = ProtoReflectionDescriptorDatabase(connection)
    pool = descriptor_pool.Default()

    def add(file):
        for name in file.dependency:
            try:
                pool.FindFileByName(name)
            except KeyError:
                add(database.FindFileByName(name))
        pool.AddSerializedFile(file.SerializeToString())

    services = [name for name in database.get_services() if name.startswith("parley.")]
    for name in services:
        try:
            pool.FindServiceByName(name)
        except KeyError:
            add(descriptor_pb2.FileDescriptorProto.FromString(
                database.FindFileContainingSymbol(name).SerializeToString()))
    return [Rpc(method) for name in services for method in pool.FindServiceByName(name).methods]
