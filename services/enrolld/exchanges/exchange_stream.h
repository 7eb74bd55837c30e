// One party's stream, behind ExchangeService.Exchange.
//
// Messages are handled in order, one at a time, on a strand of the worker pool. A client that sends without reading is
// not read from.
//
// Threads: gRPC calls the reactor on any thread; Deliver and End may be called from any thread.
#ifndef PARLEY_SERVICES_ENROLLD_EXCHANGES_EXCHANGE_STREAM_H_
#define PARLEY_SERVICES_ENROLLD_EXCHANGES_EXCHANGE_STREAM_H_

#include <memory>
#include <string>

#include "lib/rpc/gate.h"
#include "lib/rpc/out_stream.h"
#include "parley/enrol/v1/exchange_service.pb.h"
#include "services/enrolld/exchanges/exchange_sessions.h"

namespace parley::enrolld {

class ExchangeStream final
    : public rpc::OutStream<grpc::ServerBidiReactor<enrol::v1::ExchangeRequest, enrol::v1::ExchangeResponse>,
                            enrol::v1::ExchangeResponse>,
      public SessionStream {
 public:
  // Both must outlive every stream.
  ExchangeStream(const EnrolldParts* parts, ExchangeSessions* sessions, rpc::Caller caller);

  // Reads the first message.
  void Begin();

  void Deliver(const enrol::v1::ExchangeResponse& response) override { Send(response); }
  void End(const absl::Status& status) override { Close(status); }

 private:
  void OnReadDone(bool ok) override;
  void OnSent() override;
  void OnClosed() override;
  std::shared_ptr<ExchangeStream> self() { return std::static_pointer_cast<ExchangeStream>(shared_from_this()); }

  // These run on the strand.
  void Handle();
  absl::Status Dispatch();
  absl::Status Open(const std::string& name);
  void ReadMore();

  const EnrolldParts* const parts_;
  ExchangeSessions* const sessions_;
  const rpc::Caller caller_;
  rpc::Strand strand_;
  // This belongs to gRPC while it reads, and then to the strand.
  enrol::v1::ExchangeRequest incoming_;

  // This belongs to the strand.
  bool reading_ = true;
  StreamId id_ = 0;
  std::string invitation_;
  std::shared_ptr<ExchangeSession> session_;
  CallingParty who_;
};

}  // namespace parley::enrolld

#endif  // PARLEY_SERVICES_ENROLLD_EXCHANGES_EXCHANGE_STREAM_H_
