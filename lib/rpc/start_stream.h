// Begins the handler of a streaming RPC: admits the caller, or ends the stream with the refusal.
//
//   grpc::ServerWriteReactor<WatchTaskResponse>* WatchTask(...) override {
//     return rpc::StartStream(*gate_, context, "parley.task.v1.TaskService.WatchTask", [&](const rpc::Caller& caller) {
//       return std::make_shared<WatchStream>(watch_, caller.flow(), *request);
//     });
//   }
//
// Threads: for a handler, which gRPC calls on the shared loop or on a thread of its own, and which must not block.
#ifndef PARLEY_LIB_RPC_START_STREAM_H_
#define PARLEY_LIB_RPC_START_STREAM_H_

#include <memory>
#include <type_traits>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lib/rpc/gate.h"
#include "lib/rpc/out_stream.h"

namespace parley::rpc {

// `make` returns a shared_ptr to the stream of an admitted caller: an OutStream with a method Begin(), which is called
// once gRPC knows the stream. Returns the reactor, which keeps itself until its end.
template <typename Make>
auto StartStream(const Gate& gate, grpc::CallbackServerContext* context, absl::string_view method, const Make& make) {
  using Stream = typename std::invoke_result_t<Make, const Caller&>::element_type;
  using Reactor = typename Stream::Reactor;
  class Refused final : public OutStream<Reactor, typename Stream::Message> {};

  const absl::StatusOr<Caller> caller = gate.Admit(*context, method);
  if (!caller.ok()) {
    const auto refused = std::make_shared<Refused>();
    refused->Adopt();
    refused->Close(caller.status());
    return static_cast<Reactor*>(refused.get());
  }
  const auto stream = make(*caller);
  stream->Adopt(caller->call);
  stream->Begin();
  return static_cast<Reactor*>(stream.get());
}

}  // namespace parley::rpc

#endif  // PARLEY_LIB_RPC_START_STREAM_H_
