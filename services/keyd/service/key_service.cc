#include "services/keyd/service/key_service.h"

#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/base/uuid.h"
#include "lib/store/replicas.h"
#include "services/keyd/service/store_stream.h"
#include "services/keyd/store/device_names.h"
#include "services/keyd/store/store_layout.h"

namespace parley::keyd {
namespace {

using grpc::ServerWriteReactor;
using rpc::Caller;
using namespace key::v1;  // NOLINT: the whole API is adapted here.

// The keys of an audience: what is stored now, then every value that comes to be stored.
class KeysSource final : public StreamSource<AudienceKeys> {
 public:
  KeysSource(const RootKeys* roots, std::string audience) : roots_(roots), audience_(std::move(audience)) {}

  absl::StatusOr<store::KeyRange> Start(int64_t) override { return store::KeyRange::Prefix(kRootsKey); }
  absl::StatusOr<bool> Add(const store::Change& change, bool, AudienceKeys* message) override {
    if (!change.value.has_value()) return false;
    // The newest alone counts.
    Wipe(message);
    ASSIGN_OR_RETURN(*message, roots_->AudienceKeysOf(audience_, *change.value));
    return true;
  }
  void Wipe(AudienceKeys* message) const override {
    for (AudienceKeys::Epoch& epoch : *message->mutable_epochs()) WipeString(epoch.mutable_key());
  }

 private:
  const RootKeys* const roots_;
  const std::string audience_;
};

// The revocations after a cursor. Those that are forgotten are over for the services, too.
class RevocationsSource final : public StreamSource<Revocations> {
 public:
  explicit RevocationsSource(int64_t cursor) : cursor_(cursor) {}

  absl::StatusOr<store::KeyRange> Start(int64_t revision) override {
    if (cursor_ >= 0 && cursor_ <= revision) return store::KeyRange::Prefix(kRevocationPrefix);
    return Error(absl::StatusCode::kOutOfRange, "CURSOR",
                 "the cursor is not one that this keyd gave; start again at 0");
  }
  absl::StatusOr<bool> Add(const store::Change& change, bool, Revocations* message) override {
    if (!change.value.has_value() || change.mod_revision <= cursor_) return false;
    ASSIGN_OR_RETURN(*message->add_revocations(), ParseRecord<Revocation>(change.key, *change.value));
    return true;
  }
  // Until everything is told the cursor stays: a stream that is cut in between starts again from there.
  void Complete(std::optional<int64_t> revision, Revocations* message) override {
    cursor_ = revision.value_or(cursor_);
    message->set_caught_up(revision.has_value());
    message->set_cursor(cursor_);
  }

 private:
  int64_t cursor_;
};

class LabelsSource final : public StreamSource<WatchDeviceLabelsResponse> {
 public:
  absl::StatusOr<store::KeyRange> Start(int64_t) override { return store::KeyRange::Prefix(kDeviceNamePrefix); }
  absl::StatusOr<bool> Add(const store::Change& change, bool present, WatchDeviceLabelsResponse* message) override {
    ASSIGN_OR_RETURN(DeviceLabels device, DeviceNames::ToMessage(change.key, change.value));
    if (present && device.labels().empty()) return false;
    *message->add_devices() = std::move(device);
    return true;
  }
  void Complete(std::optional<int64_t> revision, WatchDeviceLabelsResponse* message) override {
    message->set_caught_up(revision.has_value());
  }
};

}  // namespace

grpc::ServerUnaryReactor* KeyServiceAdapter::KeepReplica(Context* context, const KeepReplicaRequest* request,
                                                         KeepReplicaResponse* response) {
  return parts_->gate->Unary(context, Method("KeepReplica"), [=, this](const Caller& caller) -> absl::Status {
    if (!IsUuid(request->replica())) return InvalidArgument("REPLICA", "replica must be a UUID, one for each process");
    const absl::Duration lease = ToDuration(request->lease());
    if (lease < absl::Seconds(1) || lease > absl::Hours(24)) {
      return InvalidArgument("LEASE", "lease must be 1 second to 24 hours");
    }
    store::Store* const store = parts_->store.store();
    const std::string key =
        absl::StrCat(kReplicaPrefix, caller.subject(), "/", absl::AsciiStrToLower(request->replica()));
    if (request->leaving()) return store::Replicas::Leave(store, key);
    ASSIGN_OR_RETURN(const int64_t revision, store::Replicas::Keep(store, key, lease, request->followed()));
    response->set_revision(revision);
    return absl::OkStatus();
  });
}

ServerWriteReactor<AudienceKeys>* KeyServiceAdapter::WatchAudienceKeys(Context* context,
                                                                       const WatchAudienceKeysRequest*) {
  return FollowStore<AudienceKeys>(parts_, context, Method("WatchAudienceKeys"), [this](const Caller& caller) {
    return std::make_unique<KeysSource>(parts_->roots.get(), caller.subject());
  });
}

ServerWriteReactor<Revocations>* KeyServiceAdapter::WatchRevocations(Context* context,
                                                                     const WatchRevocationsRequest* request) {
  return FollowStore<Revocations>(parts_, context, Method("WatchRevocations"), [request](const Caller&) {
    return std::make_unique<RevocationsSource>(request->cursor());
  });
}

ServerWriteReactor<WatchDeviceLabelsResponse>* KeyServiceAdapter::WatchDeviceLabels(Context* context,
                                                                                    const WatchDeviceLabelsRequest*) {
  return FollowStore<WatchDeviceLabelsResponse>(parts_, context, Method("WatchDeviceLabels"),
                                                [](const Caller&) { return std::make_unique<LabelsSource>(); });
}

}  // namespace parley::keyd
