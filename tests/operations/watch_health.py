"""Prints what grpc.health.v1 says of a service, each change on a line, until the stream ends."""

import sys

import grpc
from grpc.health.v1 import health_pb2, health_pb2_grpc


def main(address, service):
    with grpc.insecure_channel(address) as channel:
        try:
            for answer in health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=service)):
                print(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status), flush=True)
        except grpc.RpcError as error:
            print(error.code().name, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
