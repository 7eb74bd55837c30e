// What clients of TrustService do, for tests.
#ifndef PARLEY_SERVICES_KEYD_TESTING_TRUST_TESTING_H_
#define PARLEY_SERVICES_KEYD_TESTING_TRUST_TESTING_H_

#include <string>
#include <vector>

#include "lib/trust/certificate.h"
#include "lib/trust/chain.h"
#include "lib/trust/testing.h"
#include "services/keyd/testing/keyd_testing.h"

namespace parley::keyd {

using Certificates = std::vector<trust::v1::SignedCertificate>;

inline absl::StatusOr<trust::v1::FoundOrganisationResponse> Found(KeyClient& client, const trust::Founding& founding,
                                                                  const std::string& id = crypto::RandomUuid()) {
  trust::v1::FoundOrganisationRequest request;
  request.set_request_id(id);
  request.set_root_verification_key(founding.root_verification_key);
  *request.mutable_certificates() = {founding.certificates.begin(), founding.certificates.end()};
  trust::v1::FoundOrganisationResponse response;
  RETURN_IF_ERROR(client.CallTrust(&KeyClient::TrustStub::FoundOrganisation, request, &response));
  return response;
}

inline absl::StatusOr<trust::v1::EnrolResponse> Enrol(KeyClient& client, const Certificates& certificates,
                                                      const std::string& id = crypto::RandomUuid()) {
  trust::v1::EnrolRequest request;
  request.set_request_id(id);
  *request.mutable_certificates() = {certificates.begin(), certificates.end()};
  trust::v1::EnrolResponse response;
  RETURN_IF_ERROR(client.CallTrust(&KeyClient::TrustStub::Enrol, request, &response));
  return response;
}

inline absl::StatusOr<trust::v1::AppendCertificatesResponse> Append(KeyClient& client,
                                                                    const Certificates& certificates) {
  trust::v1::AppendCertificatesRequest request;
  *request.mutable_certificates() = {certificates.begin(), certificates.end()};
  request.set_reason("a test");
  trust::v1::AppendCertificatesResponse response;
  RETURN_IF_ERROR(client.CallTrust(&KeyClient::TrustStub::AppendCertificates, request, &response));
  return response;
}

// All of it, verified, and not less than keyd says it has.
inline absl::StatusOr<trust::Chain> ReadChain(KeyClient& client, const std::string& root, absl::Time now) {
  ASSIGN_OR_RETURN(trust::Chain chain, trust::Chain::Create(root));
  trust::v1::ListCertificatesResponse page;
  do {
    trust::v1::ListCertificatesRequest request;
    request.set_after_sequence(chain.head().sequence);
    RETURN_IF_ERROR(client.CallTrust(&KeyClient::TrustStub::ListCertificates, request, &page));
    for (const trust::v1::SignedCertificate& certificate : page.certificates()) {
      RETURN_IF_ERROR(chain.Append(certificate, now));
    }
  } while (chain.head().sequence < page.last_sequence() && !page.certificates().empty());
  EXPECT_EQ(chain.head().sequence, page.last_sequence());
  RETURN_IF_ERROR(chain.CheckWhole());
  return chain;
}

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_TESTING_TRUST_TESTING_H_
