// The one place that decides who may call what.
//
// Every handler starts here. The roles come from the (parley.access.v1.access) option of the method in its .proto;
// a method without the option, or that the descriptor pool does not know, can be called by nobody. Each refusal is
// recorded in the audit log, and each call is counted.
//
//   grpc::ServerUnaryReactor* GetTask(grpc::CallbackServerContext* context, const GetTaskRequest* request,
//                                     Task* response) override {
//     return gate_->Unary(context, "parley.task.v1.TaskService.GetTask", tasks_, &Tasks::Get, request, response);
//   }
//
// Threads: all methods may be called from any thread.
#ifndef PARLEY_LIB_RPC_GATE_H_
#define PARLEY_LIB_RPC_GATE_H_

#include <functional>
#include <memory>
#include <string>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "grpcpp/support/server_callback.h"
#include "lib/audit/audit_log.h"
#include "lib/rpc/call.h"
#include "lib/rpc/worker_pool.h"
#include "lib/transport/peer.h"
#include "parley/access/v1/access.pb.h"

namespace parley::rpc {

// The caller of an RPC.
struct Caller {
  std::shared_ptr<const transport::Peer> peer;
  // The call ends with its last reference. A stream gives it to OutStream::Adopt, or tells it its end.
  std::shared_ptr<Call> call;

  access::v1::Role role() const { return static_cast<access::v1::Role>(peer->key.role); }
  // Returns the flow whose turn the caller's work waits for.
  Flow flow() const { return peer == nullptr ? Flow() : Flow::Of(*peer); }
  const std::string& subject() const { return peer->key.subject; }
  // Returns the name for the audit log: "operator/alice".
  std::string Name() const;
};

class Metrics;

class Gate {
 public:
  // Finds the peer of a call: GrpcDoor::PeerOf.
  using FindPeer = std::function<std::shared_ptr<const transport::Peer>(const grpc::ServerContextBase&)>;

  // Says whether the service may act on any key at all. It is asked for each call, and answers from memory.
  using Admits = std::function<absl::Status()>;

  // `audit`, `workers` and `metrics` must outlive the gate and every call. Without metrics no call is counted; without
  // `admits` the service always may.
  Gate(FindPeer find_peer, audit::AuditLog* audit, WorkerPool* workers, Metrics* metrics = nullptr,
       Admits admits = nullptr);

  // Returns UNAUTHENTICATED if the connection is gone, the error of `admits`, or PERMISSION_DENIED (ROLE_NOT_ALLOWED)
  // naming the role and the RPC.
  absl::StatusOr<Caller> Admit(const grpc::ServerContextBase& context, absl::string_view method) const;

  // Admits, then runs the handler on a worker and finishes the call with its status. The request and response stay
  // valid until the handler returns. The handler of a call that is cancelled before a worker is free never runs.
  grpc::ServerUnaryReactor* Unary(grpc::CallbackServerContext* context, absl::string_view method,
                                  std::function<absl::Status(const Caller&)> handler) const;
  // Does the same with a method of `part` for the handler. It takes the request and the response, and before them the
  // caller if it must know who calls. `part` must outlive the call.
  template <typename Part, typename Handler, typename Request, typename Response>
  grpc::ServerUnaryReactor* Unary(grpc::CallbackServerContext* context, absl::string_view method, Part* part,
                                  Handler handler, const Request* request, Response* response) const {
    return Unary(context, method, [=](const Caller& caller) -> absl::Status {
      if constexpr (std::is_invocable_v<Handler, Part*, const Caller&, const Request&, Response*>) {
        return (part->*handler)(caller, *request, response);
      } else {
        return (part->*handler)(*request, response);
      }
    });
  }

  WorkerPool* workers() const { return workers_; }

 private:
  const FindPeer find_peer_;
  const Admits admits_;
  audit::AuditLog* const audit_;
  WorkerPool* const workers_;
  Metrics* const metrics_;
};

}  // namespace parley::rpc

#endif  // PARLEY_LIB_RPC_GATE_H_
