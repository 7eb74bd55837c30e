"""64 clients that call one service again and again, each over a connection of its own, until the server goes.

Prints "at work" once every client has had answers, and at the end a JSON object: trace id of each call to what it made,
or to the code of the error.
"""

import json
import pathlib
import sys
import threading
import uuid

import grpc
from parley.access.v1 import access_pb2
from parley.enrol.v1 import invitation_service_pb2, invitation_service_pb2_grpc
from parley.key.v1 import key_service_pb2, key_service_pb2_grpc
from parley.task.v1 import task_pb2, task_service_pb2, task_service_pb2_grpc

CALLS_BEFORE_READY = 2


def create_task(channel, **arguments):
    request = task_service_pb2.CreateTaskRequest(
        request_id=str(uuid.uuid4()), title="load", files=task_service_pb2.InlinePayload(
            files=[task_service_pb2.InlineFile(path="motd", content=b"hello\n")]))
    return task_service_pb2_grpc.TaskServiceStub(channel).CreateTask(request, **arguments).task.name


def issue_credential(channel, **arguments):
    request = key_service_pb2.IssueCredentialRequest(
        request_id=str(uuid.uuid4()), role=access_pb2.ROLE_OPERATOR, subject="load")
    return key_service_pb2_grpc.KeyServiceStub(channel).IssueCredential(request, **arguments).record.name


def create_invitation(channel, **arguments):
    request = invitation_service_pb2.CreateInvitationRequest(
        request_id=str(uuid.uuid4()), kind=invitation_service_pb2.Invitation.KIND_USER, user_name="load",
        role=access_pb2.ROLE_OPERATOR)
    stub = invitation_service_pb2_grpc.InvitationServiceStub(channel)
    return stub.CreateInvitation(request, **arguments).invitation.name


CALLS = {"taskd": create_task, "keyd": issue_credential, "enrolld": create_invitation}


class Client(threading.Thread):

    def __init__(self, call, address, credentials):
        super().__init__()
        self.call = call
        self.results = {}
        self.at_work = threading.Event()
        # Else all would share one connection.
        self.channel = grpc.secure_channel(address, credentials, [("grpc.use_local_subchannel_pool", 1)])

    def run(self):
        while True:
            trace = uuid.uuid4().hex
            try:
                self.results[trace] = self.call(self.channel, timeout=60, metadata=[
                    ("traceparent", "00-%s-00f067aa0ba902b7-01" % trace)])
            except grpc.RpcError as error:
                self.results[trace] = error.code().name
                self.at_work.set()
                return
            if len(self.results) >= CALLS_BEFORE_READY:
                self.at_work.set()


def main(service, address, folder, count):
    folder = pathlib.Path(folder)
    credentials = grpc.ssl_channel_credentials((folder / "ca.pem").read_bytes(), (folder / "client.key").read_bytes(),
                                               (folder / "client.pem").read_bytes())
    clients = [Client(CALLS[service], address, credentials) for _ in range(int(count))]
    for client in clients:
        client.start()
    for client in clients:
        client.at_work.wait()
    print("at work", flush=True)
    results = {}
    for client in clients:
        client.join()
        results.update(client.results)
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
