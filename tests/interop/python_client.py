"""Another team's program: creates a task over the public port with stubs generated from proto/."""

import pathlib
import sys
import uuid

import grpc
from parley.task.v1 import task_pb2, task_service_pb2, task_service_pb2_grpc


def main(address, folder):
    folder = pathlib.Path(folder)
    credentials = grpc.ssl_channel_credentials((folder / "ca.pem").read_bytes(), (folder / "client.key").read_bytes(),
                                               (folder / "client.pem").read_bytes())
    with grpc.secure_channel(address, credentials) as channel:
        tasks = task_service_pb2_grpc.TaskServiceStub(channel)
        response = tasks.CreateTask(task_service_pb2.CreateTaskRequest(
            request_id=str(uuid.uuid4()), title="from Python",
            files=task_service_pb2.InlinePayload(
                files=[task_service_pb2.InlineFile(path="motd", content=b"hello\n")])))
        print("created", response.task.name, task_pb2.Task.State.Name(response.task.state))
        # The first event of a watch is the task as it is.
        for event in tasks.WatchTask(task_service_pb2.WatchTaskRequest(name=response.task.name)):
            assert event.task.name == response.task.name, event
            break
        try:
            tasks.GetTask(task_service_pb2.GetTaskRequest(name="tasks/nowhere-0000"))
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.NOT_FOUND, error
        else:
            raise AssertionError("a task that is not there was found")


if __name__ == "__main__":
    main(*sys.argv[1:])
