"""Every record of a task or client that taskd has ever stored, from etcd's own history: run by the Python that has
protobuf.

    puts.py STUBS < what `etcdctl watch --write-out json` printed > a line of JSON for each

STUBS is the folder of what protoc has made of services/taskd/domain/record.proto.
"""

import base64
import json
import sys


def main(stubs):
    sys.path.insert(0, stubs)
    # Found in the folder that was given.
    from parley.task.v1 import task_pb2  # pylint: disable=import-error,import-outside-toplevel
    from services.taskd.domain import record_pb2  # pylint: disable=import-error,import-outside-toplevel
    for line in sys.stdin:
        for event in json.loads(line).get("Events") or []:
            # …/data/t/{task}/task and …/data/t/{task}/p/{client}
            key = base64.b64decode(event["kv"]["key"]).decode().split("/data/")[-1].split("/")
            value = base64.b64decode(event["kv"].get("value", ""))
            if key[0] != "t" or event.get("type"):
                continue
            if key[2:] == ["task"]:
                task = record_pb2.TaskRecord.FromString(value).task
                print(json.dumps({"task": key[1], "revision": task.revision, "bytes": task.payload_bytes}))
            elif len(key) == 4 and key[2] == "p":
                client = record_pb2.ParticipantRecord.FromString(value).participant
                print(json.dumps({
                    "task": key[1], "client": key[3], "state": task_pb2.Participant.State.Name(client.state),
                    "revision": client.revision, "attempt": client.attempt, "version": client.version}))


if __name__ == "__main__":
    main(sys.argv[1])
