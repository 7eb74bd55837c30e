// The least that gRPC does to wait: a client with one stream that is open and silent, to a server in a process beside
// it. Prints "connected" and goes on until it is ended.
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <string>

namespace {

void Serve(const std::string& address) {
  grpc::AsyncGenericService service;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials());
  builder.RegisterAsyncGenericService(&service);
  const auto queue = builder.AddCompletionQueue();
  const auto server = builder.BuildAndStart();
  grpc::GenericServerContext context;
  grpc::GenericServerAsyncReaderWriter stream(&context);
  service.RequestCall(&context, &stream, queue.get(), queue.get(), nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue->Next(&tag, &ok);
  stream.SendInitialMetadata(nullptr);
  while (queue->Next(&tag, &ok)) continue;
}

// Until what was begun last has happened.
bool Await(grpc::CompletionQueue* queue) {
  void* tag = nullptr;
  bool ok = false;
  return queue->Next(&tag, &ok) && ok;
}

}  // namespace

int main() {
  const std::string address = "unix-abstract:parley-idle-" + std::to_string(getpid());
  if (fork() == 0) {
    // Not for longer than the client.
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    Serve(address);
    return 0;
  }
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  grpc::GenericStub stub(grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments));
  grpc::ClientContext context;
  context.set_wait_for_ready(true);
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareCall(&context, "/parley/Idle", &queue);
  call->StartCall(nullptr);
  if (!Await(&queue)) return 1;
  call->ReadInitialMetadata(nullptr);
  if (!Await(&queue)) return 1;
  puts("connected");
  fflush(stdout);
  grpc::ByteBuffer message;
  call->Read(&message, nullptr);
  Await(&queue);
  return 0;
}
