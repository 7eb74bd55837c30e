#include "services/keyd/service/key_service.h"

#include <algorithm>
#include <utility>

#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "services/keyd/domain/store_layout.h"
#include "services/keyd/domain/timestamps.h"
#include "services/keyd/service/issued_response.h"
#include "services/keyd/service/label_stream.h"
#include "services/keyd/service/watch_stream.h"

namespace parley::keyd {
namespace {

using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;
using rpc::Caller;

constexpr size_t kRevocationsPerMessage = 1000;

void WipeKeys(key::v1::AudienceKeys* message) {
  for (key::v1::AudienceKeys::Epoch& epoch : *message->mutable_epochs()) WipeString(epoch.mutable_key());
}

// One stream of the keys of an audience: what is stored now, then every value that comes to be stored.
absl::StatusOr<std::unique_ptr<store::Watch>> BeginKeys(KeyAuthority* authority, const std::string& audience,
                                                        const WatchStream<key::v1::AudienceKeys>::Pointer& stream) {
  const auto send = [authority, audience, stream](absl::string_view stored) {
    absl::StatusOr<key::v1::AudienceKeys> message = authority->AudienceKeysOf(audience, stored);
    if (message.ok()) {
      stream->Send(*std::move(message));
    } else {
      stream->End(message.status());
    }
  };
  // From the revision that was read, not from the one that put the roots: that may have been compacted long ago.
  ASSIGN_OR_RETURN(const store::Page roots, authority->store()->List(store::KeyRange::Prefix(kRootsKey)));
  for (const store::Entry& entry : roots.entries) send(entry.value);
  return authority->store()->WatchRange(store::KeyRange::Prefix(kRootsKey), roots.revision,
                                        [send, stream](absl::StatusOr<std::vector<store::Change>> changes, int64_t) {
                                          if (!changes.ok()) return stream->End(changes.status());
                                          for (const store::Change& change : *changes) {
                                            if (change.value.has_value()) send(*change.value);
                                          }
                                        });
}

// The revocations after the cursor, in messages of bounded size, the last of which has caught up.
absl::Status SendBacklog(store::Store* store, int64_t cursor, int64_t* revision,
                         const WatchStream<key::v1::Revocations>::Pointer& stream) {
  ASSIGN_OR_RETURN(store::Page page, store->List(store::KeyRange::Prefix(kRevocationPrefix)));
  *revision = page.revision;
  if (cursor < 0 || cursor > page.revision) {
    return Error(absl::StatusCode::kOutOfRange, "CURSOR",
                 "the cursor is not one that this keyd gave; start again at 0");
  }
  const auto is_old = [cursor](const store::Entry& entry) { return entry.mod_revision <= cursor; };
  page.entries.erase(std::remove_if(page.entries.begin(), page.entries.end(), is_old), page.entries.end());
  size_t next = 0;
  do {
    key::v1::Revocations message;
    while (next < page.entries.size() && static_cast<size_t>(message.revocations_size()) < kRevocationsPerMessage) {
      if (!message.add_revocations()->ParseFromString(page.entries[next++].value)) {
        return Error(absl::StatusCode::kDataLoss, "STORE_DAMAGED", "a revocation in keyd's store cannot be read");
      }
    }
    // Until the last, the cursor stays: a cut in between starts again from there.
    message.set_caught_up(next == page.entries.size());
    message.set_cursor(message.caught_up() ? page.revision : cursor);
    stream->Send(std::move(message));
  } while (next < page.entries.size());
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<store::Watch>> BeginRevocations(
    store::Store* store, int64_t cursor, const WatchStream<key::v1::Revocations>::Pointer& stream) {
  int64_t revision = 0;
  RETURN_IF_ERROR(SendBacklog(store, cursor, &revision, stream));
  return store->WatchRange(store::KeyRange::Prefix(kRevocationPrefix), revision,
                           [stream](absl::StatusOr<std::vector<store::Change>> changes, int64_t reached) {
                             if (!changes.ok()) return stream->End(changes.status());
                             key::v1::Revocations message;
                             for (const store::Change& change : *changes) {
                               // Forgotten ones are over for the services, too.
                               if (change.value.has_value()) message.add_revocations()->ParseFromString(*change.value);
                             }
                             if (message.revocations().empty()) return;
                             message.set_cursor(reached);
                             message.set_caught_up(true);
                             stream->Send(std::move(message));
                           });
}

}  // namespace

ServerUnaryReactor* KeyService::IssueCredential(CallbackServerContext* context,
                                                const key::v1::IssueCredentialRequest* request,
                                                key::v1::IssueCredentialResponse* response) {
  return options_.gate->Unary(
      context, "parley.key.v1.KeyService.IssueCredential", [=, this](const Caller& caller) -> absl::Status {
        ASSIGN_OR_RETURN(const KeyAuthority::Issued issued, options_.trust->Issue(ToTrustCaller(caller), *request));
        FillResponse(issued, response);
        return absl::OkStatus();
      });
}

ServerUnaryReactor* KeyService::GetCredential(CallbackServerContext* context,
                                              const key::v1::GetCredentialRequest* request,
                                              key::v1::CredentialRecord* response) {
  return options_.gate->Unary(context, "parley.key.v1.KeyService.GetCredential",
                              [=, this](const Caller&) -> absl::Status {
                                ASSIGN_OR_RETURN(*response, options_.authority->Get(request->name()));
                                return absl::OkStatus();
                              });
}

ServerUnaryReactor* KeyService::ListCredentials(CallbackServerContext* context,
                                                const key::v1::ListCredentialsRequest* request,
                                                key::v1::ListCredentialsResponse* response) {
  return options_.gate->Unary(context, "parley.key.v1.KeyService.ListCredentials",
                              [=, this](const Caller&) -> absl::Status {
                                ASSIGN_OR_RETURN(*response, options_.authority->List(*request));
                                return absl::OkStatus();
                              });
}

ServerUnaryReactor* KeyService::RevokeCredential(CallbackServerContext* context,
                                                 const key::v1::RevokeCredentialRequest* request,
                                                 key::v1::CredentialRecord* response) {
  return options_.gate->Unary(
      context, "parley.key.v1.KeyService.RevokeCredential", [=, this](const Caller& caller) -> absl::Status {
        ASSIGN_OR_RETURN(*response, options_.authority->Revoke(caller.Name(), *request));
        const std::string serial = SerialOfName(response->name());
        options_.on_revoked(serial, FromTimestamp(response->expire_time()), serial == caller.peer->key.key_id);
        return absl::OkStatus();
      });
}

ServerUnaryReactor* KeyService::LabelDevice(CallbackServerContext* context, const key::v1::LabelDeviceRequest* request,
                                            key::v1::DeviceLabels* response) {
  return options_.gate->Unary(context, "parley.key.v1.KeyService.LabelDevice",
                              [=, this](const Caller& caller) -> absl::Status {
                                ASSIGN_OR_RETURN(*response, options_.authority->Label(caller.Name(), *request));
                                return absl::OkStatus();
                              });
}

ServerUnaryReactor* KeyService::RotateRoot(CallbackServerContext* context, const key::v1::RotateRootRequest* request,
                                           key::v1::RotateRootResponse* response) {
  return options_.gate->Unary(
      context, "parley.key.v1.KeyService.RotateRoot", [=, this](const Caller& caller) -> absl::Status {
        ASSIGN_OR_RETURN(const uint32_t epoch, options_.authority->RotateRoot(caller.Name(), request->retire_before()));
        response->set_primary_epoch(epoch);
        options_.on_rotated(request->retire_before() > 0);
        return absl::OkStatus();
      });
}

grpc::ServerWriteReactor<key::v1::AudienceKeys>* KeyService::WatchAudienceKeys(
    CallbackServerContext* context, const key::v1::WatchAudienceKeysRequest*) {
  const absl::StatusOr<Caller> caller = options_.gate->Admit(*context, "parley.key.v1.KeyService.WatchAudienceKeys");
  if (!caller.ok()) return WatchStream<key::v1::AudienceKeys>::Refuse(options_.gate->workers(), caller.status());
  return WatchStream<key::v1::AudienceKeys>::Start(
      options_.gate->workers(), options_.streams, caller->call,
      [authority = options_.authority, audience = caller->subject()](const auto& stream) {
        return BeginKeys(authority, audience, stream);
      },
      WipeKeys);
}

grpc::ServerWriteReactor<key::v1::Revocations>* KeyService::WatchRevocations(
    CallbackServerContext* context, const key::v1::WatchRevocationsRequest* request) {
  const absl::StatusOr<Caller> caller = options_.gate->Admit(*context, "parley.key.v1.KeyService.WatchRevocations");
  if (!caller.ok()) return WatchStream<key::v1::Revocations>::Refuse(options_.gate->workers(), caller.status());
  return WatchStream<key::v1::Revocations>::Start(
      options_.gate->workers(), options_.streams, caller->call,
      [store = options_.authority->store(), cursor = request->cursor()](const auto& stream) {
        return BeginRevocations(store, cursor, stream);
      },
      WatchStream<key::v1::Revocations>::WipeNothing);
}

grpc::ServerWriteReactor<key::v1::WatchDeviceLabelsResponse>* KeyService::WatchDeviceLabels(
    CallbackServerContext* context, const key::v1::WatchDeviceLabelsRequest*) {
  const absl::StatusOr<Caller> caller = options_.gate->Admit(*context, "parley.key.v1.KeyService.WatchDeviceLabels");
  if (!caller.ok()) return LabelStream::Refuse(options_.gate->workers(), caller.status());
  return LabelStream::Start(
      options_.gate->workers(), options_.streams, caller->call,
      [store = options_.authority->store()](const auto& stream) { return BeginLabels(store, stream); },
      LabelStream::WipeNothing);
}

ServerUnaryReactor* KeyService::IssueServerCertificate(CallbackServerContext* context,
                                                       const key::v1::IssueServerCertificateRequest* request,
                                                       key::v1::IssueServerCertificateResponse* response) {
  return options_.gate->Unary(
      context, "parley.key.v1.KeyService.IssueServerCertificate", [=, this](const Caller& caller) -> absl::Status {
        ASSIGN_OR_RETURN(*response, options_.authority->IssueServerCertificate(caller.Name(), *request));
        return absl::OkStatus();
      });
}

ServerUnaryReactor* KeyService::AppendAuditEvents(CallbackServerContext* context,
                                                  const key::v1::AppendAuditEventsRequest* request,
                                                  key::v1::AppendAuditEventsResponse*) {
  return options_.gate->Unary(context, "parley.key.v1.KeyService.AppendAuditEvents", [=, this](const Caller& caller) {
    return options_.authority->AppendAuditEvents(caller.subject(), *request);
  });
}

ServerUnaryReactor* KeyService::ListAuditEvents(CallbackServerContext* context,
                                                const key::v1::ListAuditEventsRequest* request,
                                                key::v1::ListAuditEventsResponse* response) {
  return options_.gate->Unary(context, "parley.key.v1.KeyService.ListAuditEvents",
                              [=, this](const Caller&) -> absl::Status {
                                ASSIGN_OR_RETURN(*response, options_.authority->ListAuditEvents(*request));
                                return absl::OkStatus();
                              });
}

}  // namespace parley::keyd
