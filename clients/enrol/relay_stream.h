// One party's stream to the service that passes messages on, in the view of the exchange.
//
// Nothing that comes from it is believed: it may be anybody's. Tests put a hostile one here.
//
// Threads: one thread calls; it may wait on fd() together with others.
#ifndef PARLEY_CLIENTS_ENROL_RELAY_STREAM_H_
#define PARLEY_CLIENTS_ENROL_RELAY_STREAM_H_

#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/enrol/v1/exchange_service.pb.h"

namespace parley::enrol {

class RelayStream {
 public:
  virtual ~RelayStream() = default;

  // Begins a stream in place of the one before, without waiting for it to stand. Returns the errors of the connection.
  virtual absl::Status Open() = 0;
  // The request is lost if the stream has broken; Take then says so.
  virtual void Send(const v1::ExchangeRequest& request) = 0;
  // Returns what came next, or no value if nothing has come yet. Once the stream is over, returns the error of the
  // service or of the connection; UNAVAILABLE if another stream may succeed.
  virtual absl::StatusOr<std::optional<v1::ExchangeResponse>> Take() = 0;
  // Returns a descriptor that is readable while Take has something to say.
  virtual int fd() const = 0;
};

}  // namespace parley::enrol

#endif  // PARLEY_CLIENTS_ENROL_RELAY_STREAM_H_
