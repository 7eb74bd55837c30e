// One participant's stream to the service that passes messages on, as the exchange sees it.
//
// Nothing that comes from it is believed: it may be anybody's. tests put a hostile one here.
//
// Threads: one thread calls; fd() may be waited on by it together with others.
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

  // Begins a stream in place of the one before. Does not wait for it to stand.
  virtual absl::Status Open() = 0;
  // Lost when the stream has broken; Take says that then.
  virtual void Send(const v1::ExchangeRequest& request) = 0;
  // What came next; nothing when it has not come yet. An error, of the service or of the connection, once the stream is
  // over; UNAVAILABLE where another one may do.
  virtual absl::StatusOr<std::optional<v1::ExchangeResponse>> Take() = 0;
  // Readable while Take has something to say.
  virtual int fd() const = 0;
};

}  // namespace parley::enrol

#endif  // PARLEY_CLIENTS_ENROL_RELAY_STREAM_H_
