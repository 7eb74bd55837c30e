"""Creates a Parley task from a folder and watches it to its end.

    create_task.py FOLDER CREDENTIALS ADDRESS [CLIENTS]

CREDENTIALS is the folder that `parley credentials export --out CREDENTIALS` wrote, ADDRESS taskd's, CLIENTS how many
are expected (1). The join key goes into a file that only you can read. Exits with 0 when every client has confirmed.
"""

import os
import pathlib
import sys
import uuid

import grpc
from parley.task.v1 import task_pb2, task_service_pb2, task_service_pb2_grpc

CALL_TIMEOUT_S = 30


def connect(address, folder):
    """The three files are all that TLS needs: no pre-shared key, no plug-in."""
    credentials = grpc.ssl_channel_credentials((folder / "ca.pem").read_bytes(), (folder / "client.key").read_bytes(),
                                               (folder / "client.pem").read_bytes())
    return grpc.secure_channel(address, credentials)


def read_files(folder):
    """Every file below a folder. taskd signs them; 3 MiB and 1000 files are the most that it takes so."""
    files = []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            sys.exit("%s is a link; `parley task create` can carry links, files given inline cannot" % path)
        if path.is_file():
            files.append(task_service_pb2.InlineFile(path=path.relative_to(folder).as_posix(),
                                                     content=path.read_bytes(), mode=path.stat().st_mode & 0o777))
    return task_service_pb2.InlinePayload(files=files)


def write_join_key(task, pasted):
    path = pathlib.Path(task.split("/")[-1] + ".join")
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(pasted + "\n")
    return path


def watch(tasks, name):
    """Prints what each client does; the task as it ended. Goes on where it was when the connection breaks."""
    cursor, task, shown = 0, None, {}
    while True:
        try:
            request = task_service_pb2.WatchTaskRequest(name=name, cursor=cursor)
            for event in tasks.WatchTask(request, wait_for_ready=True):
                cursor = event.cursor
                if event.HasField("task"):
                    task = event.task
                for client in event.participants:
                    if shown.get(client.name) != client.state:
                        shown[client.name] = client.state
                        print(client.name.split("/")[-1], task_pb2.Participant.State.Name(client.state), flush=True)
            return task
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.UNAVAILABLE:
                raise


def main(folder, credentials, address, clients="1"):
    folder = pathlib.Path(folder)
    with connect(address, pathlib.Path(credentials)) as channel:
        tasks = task_service_pb2_grpc.TaskServiceStub(channel)
        # Sent again with the same request_id, this creates nothing twice.
        created = tasks.CreateTask(
            task_service_pb2.CreateTaskRequest(request_id=str(uuid.uuid4()), title=folder.resolve().name,
                                               files=read_files(folder), expected_clients=int(clients)),
            wait_for_ready=True, timeout=CALL_TIMEOUT_S)
        key_file = write_join_key(created.task.name, created.join_key.pasted)
        print("created", created.task.name, "key", key_file, flush=True)
        task = watch(tasks, created.task.name)
    print("ended", task_pb2.Task.State.Name(task.state), "confirmed", task.counts.confirmed)
    return 0 if task.state == task_pb2.Task.STATE_COMPLETED else 1


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    try:
        sys.exit(main(*sys.argv[1:]))
    except grpc.RpcError as failure:
        sys.exit("%s: %s" % (failure.code().name, failure.details()))
