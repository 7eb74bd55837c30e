// A client that has joined a task by its key, has what the task offered first, and waits for the next revision.
#ifndef PARLEY_BENCH_FLEET_WAITING_MEMBER_H_
#define PARLEY_BENCH_FLEET_WAITING_MEMBER_H_

#include <cstdint>
#include <memory>
#include <string>

#include "bench/fleet/live_client.h"
#include "lib/base/mutex.h"
#include "parley/task/v1/participation_service.grpc.pb.h"

namespace parley::bench {

class WaitingMember final : public LiveClient {
 public:
  // `joined` is the server's answer to Join.
  WaitingMember(Fleet* fleet, int number, const task::v1::JoinResponse& joined);
  ~WaitingMember() override;

  // Declines the revision on offer, so that the client is at rest again. May be called from any thread.
  void Decline();

 private:
  class Stream;

  void OpenStream(std::shared_ptr<grpc::Channel> channel) override;
  task::v1::NegotiateRequest Request() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  task::v1::NegotiateRequest Declaration() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OnResponse(const task::v1::NegotiateResponse& response);
  void OnStreamEnded(const grpc::Status& status);

  const std::string task_;
  const std::string instance_;
  // The revision that is installed, and the digest of its payload.
  const int64_t revision_;
  const std::string digest_;
  Mutex mutex_;
  int64_t sequence_ ABSL_GUARDED_BY(mutex_) = 0;
  int32_t attempt_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t version_ ABSL_GUARDED_BY(mutex_) = 0;
  // It is null while no stream is open.
  Stream* stream_ ABSL_GUARDED_BY(mutex_) = nullptr;
};

}  // namespace parley::bench

#endif  // PARLEY_BENCH_FLEET_WAITING_MEMBER_H_
