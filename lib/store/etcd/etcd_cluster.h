// The members of an etcd, and how calls find one that answers.
//
// All calls go to one member, the current one, until that fails; then the next one is tried, in a circle.
//
// Threads: all methods may be called from any thread.
#ifndef PARLEY_LIB_STORE_ETCD_ETCD_CLUSTER_H_
#define PARLEY_LIB_STORE_ETCD_ETCD_CLUSTER_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "lib/store/etcd/etcd_store.h"
#include "lib/transport/dialer.h"
#include "third_party/etcd/rpc.grpc.pb.h"

namespace parley::store {

class EtcdMember {
 public:
  // Returns the errors of Dialer::Create. `dialer` is none without TLS.
  EtcdMember(std::string endpoint, std::string target, std::unique_ptr<transport::Dialer> dialer);

  const std::string& endpoint() const { return endpoint_; }
  etcdserverpb::KV::Stub* kv() const { return kv_.get(); }
  etcdserverpb::Watch::Stub* watch() const { return watch_.get(); }
  etcdserverpb::Lease::Stub* lease() const { return lease_.get(); }
  etcdserverpb::Maintenance::Stub* maintenance() const { return maintenance_.get(); }

  // Connects if there is no connection. Returns the cause if there is none at once or after `timeout`.
  absl::Status Connect(absl::Duration timeout) const;
  // Waits until a connection that failed is there again, or until `timeout` is over.
  void AwaitConnection(absl::Duration timeout) const;
  // Returns what is known about a call that failed: the dialer's error, or gRPC's words.
  absl::Status Explain(const grpc::Status& status) const;
  // Notes whether the member fails. Returns whether that is news.
  bool SetFailing(bool failing) { return failing_.exchange(failing) != failing; }

 private:
  const std::string endpoint_;
  const std::unique_ptr<transport::Dialer> dialer_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<etcdserverpb::KV::Stub> kv_;
  const std::unique_ptr<etcdserverpb::Watch::Stub> watch_;
  const std::unique_ptr<etcdserverpb::Lease::Stub> lease_;
  const std::unique_ptr<etcdserverpb::Maintenance::Stub> maintenance_;
  std::atomic<bool> failing_ = false;
};

// Returns the deadline of a call, which gRPC counts by a clock that nobody sets from the moment when it begins.
inline std::chrono::system_clock::time_point DeadlineIn(absl::Duration timeout) {
  return absl::ToChronoTime(absl::Now() + timeout);
}

// Lets a member answer only as long as it knows a leader, in place of being silent for ever or for seconds.
void RequireLeader(grpc::ClientContext* context);

class EtcdCluster {
 public:
  // Connects to nobody yet. Returns the errors of CheckEtcdOptions and of the files.
  static absl::StatusOr<std::unique_ptr<EtcdCluster>> Create(const EtcdOptions& options);

  EtcdMember* current() const { return members_[current_.load()].get(); }
  // Makes the next member the current one, if `failed` is that. The log has the first of several failures.
  void MoveOn(EtcdMember* failed, const absl::Status& why);
  // Says that the member has answered.
  void Succeeded(EtcdMember* member);
  // Connects to the current member, or to the first one after it that answers. Returns the error of the last.
  absl::StatusOr<EtcdMember*> Connect(absl::Duration timeout);

  enum class Effect {
    // The call may be made twice.
    kRepeatable,
    // The call is repeated only if nobody has received it.
    kOnce,
  };
  using Try = absl::FunctionRef<grpc::Status(EtcdMember* member, grpc::ClientContext* context)>;
  // Makes a call, at other members too. `revision` is the one that it is about, for errors. Returns the errors of
  // store.h; STORE_UNAVAILABLE says whether the call may have had an effect.
  absl::Status Call(Effect effect, int64_t revision, Try one_try);
  // Returns what the current member says of itself. The errors of Call.
  absl::StatusOr<etcdserverpb::StatusResponse> GetStatus();

  absl::Duration try_timeout() const { return try_timeout_; }

 private:
  EtcdCluster(std::vector<std::unique_ptr<EtcdMember>> members, const EtcdOptions& options);

  const std::vector<std::unique_ptr<EtcdMember>> members_;
  const absl::Duration call_timeout_;
  const absl::Duration try_timeout_;
  std::atomic<size_t> current_ = 0;
};

}  // namespace parley::store

#endif  // PARLEY_LIB_STORE_ETCD_ETCD_CLUSTER_H_
