// A device that waits for tasks whose selector its labels match.
#ifndef PARLEY_BENCH_FLEET_WATCHING_DEVICE_H_
#define PARLEY_BENCH_FLEET_WATCHING_DEVICE_H_

#include <memory>

#include "bench/fleet/live_client.h"

namespace parley::bench {

class WatchingDevice final : public LiveClient {
 public:
  using LiveClient::LiveClient;

 private:
  class Stream;

  void OpenStream(std::shared_ptr<grpc::Channel> channel) override;
};

}  // namespace parley::bench

#endif  // PARLEY_BENCH_FLEET_WATCHING_DEVICE_H_
