"""64 clients that create tasks one after another, each over a connection of its own, until the server goes.

Prints "at work" once every client has had answers, and at the end a JSON object: trace id of each call to the name of
the task that was answered, or to the code of the error.
"""

import json
import pathlib
import sys
import threading
import uuid

import grpc
from parley.task.v1 import task_pb2, task_service_pb2, task_service_pb2_grpc

CALLS_BEFORE_READY = 2


class Client(threading.Thread):

    def __init__(self, address, credentials):
        super().__init__()
        self.calls = {}
        self.at_work = threading.Event()
        # Else all would share one connection.
        self.channel = grpc.secure_channel(address, credentials, [("grpc.use_local_subchannel_pool", 1)])

    def run(self):
        tasks = task_service_pb2_grpc.TaskServiceStub(self.channel)
        while True:
            trace = uuid.uuid4().hex
            request = task_service_pb2.CreateTaskRequest(
                request_id=str(uuid.uuid4()), title="load",
                files=task_service_pb2.InlinePayload(
                    files=[task_service_pb2.InlineFile(path="motd", content=b"hello\n")]))
            try:
                answer = tasks.CreateTask(request, timeout=60,
                                          metadata=[("traceparent", "00-%s-00f067aa0ba902b7-01" % trace)])
            except grpc.RpcError as error:
                self.calls[trace] = error.code().name
                self.at_work.set()
                return
            self.calls[trace] = answer.task.name
            if len(self.calls) >= CALLS_BEFORE_READY:
                self.at_work.set()


def main(address, folder, count):
    folder = pathlib.Path(folder)
    credentials = grpc.ssl_channel_credentials((folder / "ca.pem").read_bytes(), (folder / "client.key").read_bytes(),
                                               (folder / "client.pem").read_bytes())
    clients = [Client(address, credentials) for _ in range(int(count))]
    for client in clients:
        client.start()
    for client in clients:
        client.at_work.wait()
    print("at work", flush=True)
    calls = {}
    for client in clients:
        client.join()
        calls.update(client.calls)
    json.dump(calls, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
