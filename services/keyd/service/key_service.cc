#include "services/keyd/service/key_service.h"

#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/rpc/start_stream.h"
#include "services/keyd/service/issued_response.h"
#include "services/keyd/service/store_stream.h"
#include "services/keyd/store/device_names.h"
#include "services/keyd/store/store_layout.h"

namespace parley::keyd {
namespace {

using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;
using rpc::Caller;

// The keys of an audience: what is stored now, then every value that comes to be stored.
class KeysSource final : public StreamSource<key::v1::AudienceKeys> {
 public:
  KeysSource(const RootKeys* roots, std::string audience) : roots_(roots), audience_(std::move(audience)) {}

  absl::StatusOr<store::KeyRange> Start(int64_t) override { return store::KeyRange::Prefix(kRootsKey); }
  absl::StatusOr<bool> Add(const store::Change& change, bool, key::v1::AudienceKeys* message) override {
    if (!change.value.has_value()) return false;
    // The newest alone counts.
    Wipe(message);
    ASSIGN_OR_RETURN(*message, roots_->AudienceKeysOf(audience_, *change.value));
    return true;
  }
  void Complete(std::optional<int64_t>, key::v1::AudienceKeys*) override {}
  void Wipe(key::v1::AudienceKeys* message) const override {
    for (key::v1::AudienceKeys::Epoch& epoch : *message->mutable_epochs()) WipeString(epoch.mutable_key());
  }

 private:
  const RootKeys* const roots_;
  const std::string audience_;
};

// The revocations after a cursor. Those that are forgotten are over for the services, too.
class RevocationsSource final : public StreamSource<key::v1::Revocations> {
 public:
  explicit RevocationsSource(int64_t cursor) : cursor_(cursor) {}

  absl::StatusOr<store::KeyRange> Start(int64_t revision) override {
    if (cursor_ >= 0 && cursor_ <= revision) return store::KeyRange::Prefix(kRevocationPrefix);
    return Error(absl::StatusCode::kOutOfRange, "CURSOR",
                 "the cursor is not one that this keyd gave; start again at 0");
  }
  absl::StatusOr<bool> Add(const store::Change& change, bool, key::v1::Revocations* message) override {
    if (!change.value.has_value() || change.mod_revision <= cursor_) return false;
    if (!message->add_revocations()->ParseFromString(*change.value)) return Damaged(change.key);
    return true;
  }
  // Until everything is told the cursor stays: a stream that is cut in between starts again from there.
  void Complete(std::optional<int64_t> revision, key::v1::Revocations* message) override {
    cursor_ = revision.value_or(cursor_);
    message->set_caught_up(revision.has_value());
    message->set_cursor(cursor_);
  }

 private:
  int64_t cursor_;
};

class LabelsSource final : public StreamSource<key::v1::WatchDeviceLabelsResponse> {
 public:
  absl::StatusOr<store::KeyRange> Start(int64_t) override { return store::KeyRange::Prefix(kDeviceNamePrefix); }
  absl::StatusOr<bool> Add(const store::Change& change, bool present,
                           key::v1::WatchDeviceLabelsResponse* message) override {
    ASSIGN_OR_RETURN(key::v1::DeviceLabels device, DeviceNames::ToMessage(change.key, change.value));
    if (present && device.labels().empty()) return false;
    *message->add_devices() = std::move(device);
    return true;
  }
  void Complete(std::optional<int64_t> revision, key::v1::WatchDeviceLabelsResponse* message) override {
    message->set_caught_up(revision.has_value());
  }
};

}  // namespace

template <typename Message, typename MakeSource>
grpc::ServerWriteReactor<Message>* KeyService::Follow(CallbackServerContext* context, absl::string_view method,
                                                      const MakeSource& make_source) {
  return rpc::StartStream(
      *options_.gate, context, absl::StrCat("parley.key.v1.KeyService.", method), [&](const Caller& caller) {
        return std::make_shared<StoreStream<Message>>(options_.store->store(), options_.gate->workers(),
                                                      options_.streams, caller, make_source(caller));
      });
}

ServerUnaryReactor* KeyService::IssueCredential(CallbackServerContext* context,
                                                const key::v1::IssueCredentialRequest* request,
                                                key::v1::IssueCredentialResponse* response) {
  return options_.gate->Unary(
      context, "parley.key.v1.KeyService.IssueCredential", [=, this](const Caller& caller) -> absl::Status {
        ASSIGN_OR_RETURN(const Credentials::Issued issued, options_.trust->Issue(ToTrustCaller(caller), *request));
        FillResponse(issued, response);
        return absl::OkStatus();
      });
}

ServerUnaryReactor* KeyService::GetCredential(CallbackServerContext* context,
                                              const key::v1::GetCredentialRequest* request,
                                              key::v1::CredentialRecord* response) {
  return options_.gate->Unary(context, "parley.key.v1.KeyService.GetCredential",
                              [=, this](const Caller&) -> absl::Status {
                                ASSIGN_OR_RETURN(*response, options_.credentials->Get(request->name()));
                                return absl::OkStatus();
                              });
}

ServerUnaryReactor* KeyService::ListCredentials(CallbackServerContext* context,
                                                const key::v1::ListCredentialsRequest* request,
                                                key::v1::ListCredentialsResponse* response) {
  return options_.gate->Unary(context, "parley.key.v1.KeyService.ListCredentials",
                              [=, this](const Caller&) -> absl::Status {
                                ASSIGN_OR_RETURN(*response, options_.credentials->List(*request));
                                return absl::OkStatus();
                              });
}

ServerUnaryReactor* KeyService::RevokeCredential(CallbackServerContext* context,
                                                 const key::v1::RevokeCredentialRequest* request,
                                                 key::v1::CredentialRecord* response) {
  return options_.gate->Unary(
      context, "parley.key.v1.KeyService.RevokeCredential", [=, this](const Caller& caller) -> absl::Status {
        ASSIGN_OR_RETURN(*response, options_.credentials->Revoke(caller.Name(), *request));
        const std::string serial = SerialOfName(response->name());
        options_.on_revoked(serial, ToTime(response->expire_time()), serial == caller.peer->key.key_id);
        return absl::OkStatus();
      });
}

ServerUnaryReactor* KeyService::LabelDevice(CallbackServerContext* context, const key::v1::LabelDeviceRequest* request,
                                            key::v1::DeviceLabels* response) {
  return options_.gate->Unary(context, "parley.key.v1.KeyService.LabelDevice",
                              [=, this](const Caller& caller) -> absl::Status {
                                ASSIGN_OR_RETURN(*response, options_.credentials->Label(caller.Name(), *request));
                                return absl::OkStatus();
                              });
}

ServerUnaryReactor* KeyService::RotateRoot(CallbackServerContext* context, const key::v1::RotateRootRequest* request,
                                           key::v1::RotateRootResponse* response) {
  return options_.gate->Unary(
      context, "parley.key.v1.KeyService.RotateRoot", [=, this](const Caller& caller) -> absl::Status {
        ASSIGN_OR_RETURN(const uint32_t epoch, options_.roots->Rotate(caller.Name(), request->retire_before()));
        response->set_primary_epoch(epoch);
        options_.on_rotated(request->retire_before() > 0);
        return absl::OkStatus();
      });
}

grpc::ServerWriteReactor<key::v1::AudienceKeys>* KeyService::WatchAudienceKeys(
    CallbackServerContext* context, const key::v1::WatchAudienceKeysRequest*) {
  return Follow<key::v1::AudienceKeys>(context, "WatchAudienceKeys", [this](const Caller& caller) {
    return std::make_unique<KeysSource>(options_.roots, caller.subject());
  });
}

grpc::ServerWriteReactor<key::v1::Revocations>* KeyService::WatchRevocations(
    CallbackServerContext* context, const key::v1::WatchRevocationsRequest* request) {
  return Follow<key::v1::Revocations>(context, "WatchRevocations", [request](const Caller&) {
    return std::make_unique<RevocationsSource>(request->cursor());
  });
}

grpc::ServerWriteReactor<key::v1::WatchDeviceLabelsResponse>* KeyService::WatchDeviceLabels(
    CallbackServerContext* context, const key::v1::WatchDeviceLabelsRequest*) {
  return Follow<key::v1::WatchDeviceLabelsResponse>(context, "WatchDeviceLabels",
                                                    [](const Caller&) { return std::make_unique<LabelsSource>(); });
}

ServerUnaryReactor* KeyService::IssueServerCertificate(CallbackServerContext* context,
                                                       const key::v1::IssueServerCertificateRequest* request,
                                                       key::v1::IssueServerCertificateResponse* response) {
  return options_.gate->Unary(context, "parley.key.v1.KeyService.IssueServerCertificate",
                              [=, this](const Caller& caller) -> absl::Status {
                                ASSIGN_OR_RETURN(*response, options_.certificates->Issue(caller.Name(), *request));
                                return absl::OkStatus();
                              });
}

ServerUnaryReactor* KeyService::AppendAuditEvents(CallbackServerContext* context,
                                                  const key::v1::AppendAuditEventsRequest* request,
                                                  key::v1::AppendAuditEventsResponse*) {
  return options_.gate->Unary(context, "parley.key.v1.KeyService.AppendAuditEvents", [=, this](const Caller& caller) {
    return options_.trail->Append(caller.subject(), {request->events().begin(), request->events().end()});
  });
}

ServerUnaryReactor* KeyService::ListAuditEvents(CallbackServerContext* context,
                                                const key::v1::ListAuditEventsRequest* request,
                                                key::v1::ListAuditEventsResponse* response) {
  return options_.gate->Unary(context, "parley.key.v1.KeyService.ListAuditEvents",
                              [=, this](const Caller&) -> absl::Status {
                                ASSIGN_OR_RETURN(*response, options_.trail->List(*request));
                                return absl::OkStatus();
                              });
}

}  // namespace parley::keyd
