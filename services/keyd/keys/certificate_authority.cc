#include "services/keyd/keys/certificate_authority.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "services/keyd/domain/audit_events.h"

namespace parley::keyd {
namespace {

constexpr int kMaxServerNames = 32;

}  // namespace

absl::StatusOr<std::unique_ptr<CertificateAuthority>> CertificateAuthority::Open(const Organisation* organisation,
                                                                                 AuditTrail* trail,
                                                                                 const Clock* clock) {
  ASSIGN_OR_RETURN(crypto::EcKey key, organisation->CaKey());
  return std::unique_ptr<CertificateAuthority>(new CertificateAuthority(organisation, std::move(key), trail, clock));
}

absl::StatusOr<key::v1::IssueServerCertificateResponse> CertificateAuthority::Issue(
    absl::string_view actor, const key::v1::IssueServerCertificateRequest& request) {
  if (request.names().empty() || request.names_size() > kMaxServerNames) {
    return Error(absl::StatusCode::kInvalidArgument, "SERVER_NAMES",
                 absl::StrCat("a server certificate takes 1 to ", kMaxServerNames, " names"));
  }
  const absl::Time now = clock_->Now();
  const absl::Time not_after = absl::FromUnixSeconds(absl::ToUnixSeconds(now + kServerCertificateTtl));
  key::v1::IssueServerCertificateResponse response;
  ASSIGN_OR_RETURN(*response.mutable_certificate_pem(),
                   crypto::MakeServerCertificate(key_, organisation_->ca_pem(), request.public_key(),
                                                 {request.names().begin(), request.names().end()}, now, not_after));
  response.set_ca_pem(organisation_->ca_pem());
  *response.mutable_expire_time() = ToProto(not_after);
  key::v1::AuditEvent event =
      MakeEvent(*clock_, actor, "certificate.issued", "organisation", absl::StrJoin(request.names(), " "));
  RETURN_IF_ERROR(trail_->Commit({std::move(event)}, [](int64_t, store::Transaction*) {}).status());
  return response;
}

}  // namespace parley::keyd
