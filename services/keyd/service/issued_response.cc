#include "services/keyd/service/issued_response.h"

namespace parley::keyd {

void FillResponse(const Credentials::Issued& issued, key::v1::IssueCredentialResponse* response) {
  *response->mutable_record() = issued.record;
  response->set_ca_pem(issued.credential.ca_pem);
  for (const keys::AudienceKey& key : issued.credential.keys) {
    key::v1::AudienceSecret* const secret = response->add_secrets();
    secret->set_audience(key.audience);
    secret->set_identity(key.identity);
    secret->set_address(key.address);
    secret->set_secret(key.secret.Expose().data(), key.secret.size());
  }
}

TrustAuthority::Caller ToTrustCaller(const rpc::Caller& caller) {
  return {caller.Name(), caller.subject(), caller.peer->key.key_id};
}

}  // namespace parley::keyd
