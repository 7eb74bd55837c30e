#include "bench/fleet/watching_device.h"

#include <grpcpp/grpcpp.h>

#include <utility>

#include "bench/fleet/labels.h"
#include "lib/transport/grpc_status.h"
#include "parley/task/v1/participation_service.grpc.pb.h"

namespace parley::bench {

// The object deletes itself at the stream's end.
class WatchingDevice::Stream final : public grpc::ClientReadReactor<task::v1::WatchAssignmentsResponse> {
 public:
  Stream(WatchingDevice* device, std::shared_ptr<grpc::Channel> channel)
      : device_(device), channel_(std::move(channel)), stub_(task::v1::ParticipationService::NewStub(channel_)) {}

  void Start() {
    GiveLabels(&request_);
    stub_->async()->WatchAssignments(&context_, &request_, this);
    StartRead(&response_);
    StartCall();
  }

 private:
  // The server says at once that the stream stands.
  void OnReadInitialMetadataDone(bool ok) override {
    if (ok) device_->Opened();
  }
  void OnReadDone(bool ok) override {
    if (!ok) return;
    device_->fleet().told.Note(device_->number());
    StartRead(&response_);
  }
  void OnDone(const grpc::Status& status) override {
    device_->Ended(transport::FromGrpc(status));
    delete this;
  }

  WatchingDevice* const device_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<task::v1::ParticipationService::Stub> stub_;
  grpc::ClientContext context_;
  task::v1::WatchAssignmentsRequest request_;
  task::v1::WatchAssignmentsResponse response_;
};

void WatchingDevice::OpenStream(std::shared_ptr<grpc::Channel> channel) {
  (new Stream(this, std::move(channel)))->Start();
}

}  // namespace parley::bench
