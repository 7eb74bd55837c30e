#include "services/keyd/service/trust_service.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "services/keyd/domain/store_layout.h"
#include "services/keyd/domain/timestamps.h"
#include "services/keyd/service/issued_response.h"
#include "services/keyd/service/watch_stream.h"

namespace parley::keyd {
namespace {

using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;
using rpc::Caller;
using Stream = WatchStream<trust::v1::WatchCertificatesResponse>;

constexpr size_t kCertificatesPerMessage = 1000;

// The certificates after a sequence, in messages of bounded size, the last of which reaches the end.
absl::Status SendBacklog(store::Store* store, int64_t after, int64_t* revision, const Stream::Pointer& stream) {
  ASSIGN_OR_RETURN(const store::Page page, store->List(store::KeyRange::Prefix(kCertificatePrefix)));
  *revision = page.revision;
  const auto last = static_cast<int64_t>(page.entries.size());
  auto next = static_cast<size_t>(std::min(after, last));
  do {
    trust::v1::WatchCertificatesResponse message;
    message.set_last_sequence(last);
    while (next < page.entries.size() && static_cast<size_t>(message.certificates_size()) < kCertificatesPerMessage) {
      message.add_certificates()->ParseFromString(page.entries[next++].value);
    }
    stream->Send(std::move(message));
  } while (next < page.entries.size());
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<store::Watch>> Begin(store::Store* store, int64_t after, const Stream::Pointer& stream) {
  if (after < 0) {
    return Error(absl::StatusCode::kInvalidArgument, "AFTER_SEQUENCE", "after_sequence must not be negative");
  }
  int64_t revision = 0;
  RETURN_IF_ERROR(SendBacklog(store, after, &revision, stream));
  return store->WatchRange(store::KeyRange::Prefix(kCertificatePrefix), revision,
                           [stream](absl::StatusOr<std::vector<store::Change>> changes, int64_t) {
                             if (!changes.ok()) return stream->End(changes.status());
                             trust::v1::WatchCertificatesResponse message;
                             for (const store::Change& change : *changes) {
                               if (!change.value.has_value()) continue;
                               message.add_certificates()->ParseFromString(*change.value);
                               message.set_last_sequence(NumberOf(change.key, kCertificatePrefix));
                             }
                             stream->Send(std::move(message));
                           });
}

}  // namespace

absl::Status TrustService::Recorded(const Caller& caller, absl::string_view method, const absl::Status& status) const {
  // That it moved says nothing of whoever signed.
  if (!absl::StartsWith(Reason(status), "CHAIN_") || absl::IsAborted(status)) return status;
  key::v1::AuditEvent event;
  event.set_actor(caller.Name());
  event.set_action("certificate.refused");
  event.set_resource(absl::StrCat("parley.trust.v1.TrustService.", method));
  event.set_outcome(Reason(status));
  options_.audit->Record(std::move(event));
  return status;
}

ServerUnaryReactor* TrustService::FoundOrganisation(CallbackServerContext* context,
                                                    const trust::v1::FoundOrganisationRequest* request,
                                                    trust::v1::FoundOrganisationResponse* response) {
  return options_.gate->Unary(
      context, "parley.trust.v1.TrustService.FoundOrganisation", [=, this](const Caller& caller) -> absl::Status {
        const absl::StatusOr<KeyAuthority::Issued> issued = options_.authority->Found(ToTrustCaller(caller), *request);
        RETURN_IF_ERROR(Recorded(caller, "FoundOrganisation", issued.status()));
        FillResponse(*issued, response->mutable_credential());
        response->set_organisation(options_.authority->organisation());
        return absl::OkStatus();
      });
}

ServerUnaryReactor* TrustService::Enrol(CallbackServerContext* context, const trust::v1::EnrolRequest* request,
                                        trust::v1::EnrolResponse* response) {
  return options_.gate->Unary(context, "parley.trust.v1.TrustService.Enrol",
                              [=, this](const Caller& caller) -> absl::Status {
                                const absl::StatusOr<TrustAuthority::Enrolled> enrolled =
                                    options_.authority->Enrol(ToTrustCaller(caller), *request);
                                RETURN_IF_ERROR(Recorded(caller, "Enrol", enrolled.status()));
                                FillResponse(enrolled->issued, response->mutable_credential());
                                response->set_sequence(enrolled->sequence);
                                return absl::OkStatus();
                              });
}

ServerUnaryReactor* TrustService::AppendCertificates(CallbackServerContext* context,
                                                     const trust::v1::AppendCertificatesRequest* request,
                                                     trust::v1::AppendCertificatesResponse* response) {
  return options_.gate->Unary(
      context, "parley.trust.v1.TrustService.AppendCertificates", [=, this](const Caller& caller) -> absl::Status {
        const absl::StatusOr<TrustAuthority::Appended> appended =
            options_.authority->Append(ToTrustCaller(caller), *request);
        RETURN_IF_ERROR(Recorded(caller, "AppendCertificates", appended.status()));
        for (const key::v1::CredentialRecord& record : appended->revoked) {
          const std::string serial = SerialOfName(record.name());
          options_.on_revoked(serial, FromTimestamp(record.expire_time()), serial == caller.peer->key.key_id);
          response->add_credentials(record.name());
        }
        response->set_sequence(appended->sequence);
        response->set_revoked_credentials(static_cast<int32_t>(appended->revoked.size()));
        return absl::OkStatus();
      });
}

ServerUnaryReactor* TrustService::RenewCredential(CallbackServerContext* context,
                                                  const trust::v1::RenewCredentialRequest* request,
                                                  trust::v1::RenewCredentialResponse* response) {
  return options_.gate->Unary(
      context, "parley.trust.v1.TrustService.RenewCredential", [=, this](const Caller& caller) -> absl::Status {
        ASSIGN_OR_RETURN(const KeyAuthority::Issued issued, options_.authority->Renew(ToTrustCaller(caller), *request));
        FillResponse(issued, response->mutable_credential());
        return absl::OkStatus();
      });
}

ServerUnaryReactor* TrustService::ListCertificates(CallbackServerContext* context,
                                                   const trust::v1::ListCertificatesRequest* request,
                                                   trust::v1::ListCertificatesResponse* response) {
  return options_.gate->Unary(context, "parley.trust.v1.TrustService.ListCertificates",
                              [=, this](const Caller&) -> absl::Status {
                                ASSIGN_OR_RETURN(*response, options_.authority->List(*request));
                                return absl::OkStatus();
                              });
}

grpc::ServerWriteReactor<trust::v1::WatchCertificatesResponse>* TrustService::WatchCertificates(
    CallbackServerContext* context, const trust::v1::WatchCertificatesRequest* request) {
  const absl::StatusOr<Caller> caller =
      options_.gate->Admit(*context, "parley.trust.v1.TrustService.WatchCertificates");
  if (!caller.ok()) return Stream::Refuse(options_.gate->workers(), caller.status());
  return Stream::Start(
      options_.gate->workers(), options_.streams, caller->call,
      [store = options_.store, after = request->after_sequence()](const auto& stream) {
        return Begin(store, after, stream);
      },
      Stream::WipeNothing);
}

}  // namespace parley::keyd
