#include "services/keyd/testing/keyd_testing.h"

#include <grpcpp/server_builder.h>

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "lib/audit/audit_chain.h"

namespace parley::keyd {

absl::Status TestKeyd::Start() {
  const absl::Status status = Serve();
  if (!status.ok()) Stop();
  return status;
}

absl::Status TestKeyd::Serve() {
  // The same port again after a restart.
  options.listen = address_;
  Keyd::Config config;
  config.options = options;
  config.options.shares_store = shared_store != nullptr;
  config.clock = &clock;
  config.shared_store = shared_store;
  config.lease = lease;
  config.on_admitting = [this](bool now) { admits = now; };
  config.find_peer = [this](const grpc::ServerContextBase& context) { return door_->PeerOf(context); };
  config.listener = [this]() -> transport::Listener& { return door_->listener(); };
  ASSIGN_OR_RETURN(keyd_, Keyd::Create(std::move(config)));
  transport::Listener::Options listener;
  listener.address = options.listen;
  listener.clock = &clock;
  RETURN_IF_ERROR(keyd_->Certify(&listener));
  ASSIGN_OR_RETURN(door_, transport::GrpcDoor::Create(std::move(listener), keyd_->key_source()));
  address_ = door_->listener().address();
  RETURN_IF_ERROR(keyd_->WriteCredentials(address_));
  grpc::ServerBuilder builder;
  keyd_->Register(&builder);
  return door_->Serve(&builder);
}

void TestKeyd::Stop() {
  if (keyd_ != nullptr) keyd_->Drain();
  if (door_ != nullptr) {
    door_->Shutdown(absl::Now());
    door_->Wait();
  }
  keyd_ = nullptr;
  door_ = nullptr;
}

void KeydTest::SetUp() {
  const absl::Status started = keyd_.Start();
  ASSERT_TRUE(started.ok()) << started;
}

std::string KeydTest::StartError() {
  keyd_.Stop();
  const absl::Status status = keyd_.Start();
  EXPECT_FALSE(status.ok());
  message_ = std::string(status.message());
  return Reason(status);
}

std::vector<key::v1::AuditEvent> KeydTest::VerifiedLog() {
  const auto admin = keyd_.ConnectAs("admin");
  audit::AuditVerifier verifier;
  std::vector<key::v1::AuditEvent> events;
  key::v1::ListAuditEventsResponse page;
  do {
    key::v1::ListAuditEventsRequest request;
    request.set_after_sequence(static_cast<int64_t>(events.size()));
    request.set_page_size(7);
    const absl::Status status = admin->Call(&KeyClient::Stub::ListAuditEvents, request, &page);
    EXPECT_TRUE(status.ok()) << status;
    for (const key::v1::AuditEntry& entry : page.entries()) {
      EXPECT_TRUE(verifier.Add(entry).ok());
      events.emplace_back().ParseFromString(entry.event_bytes());
    }
  } while (!page.entries().empty());
  EXPECT_TRUE(verifier.Finish(page.last_sequence()).ok());
  return events;
}

int KeydTest::CountOf(const std::vector<key::v1::AuditEvent>& events, const std::string& action) {
  return static_cast<int>(
      std::count_if(events.begin(), events.end(), [&action](const auto& event) { return event.action() == action; }));
}

}  // namespace parley::keyd
