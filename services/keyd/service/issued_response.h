// What the domain knows, as messages; and callers as the domain knows them.
#ifndef PARLEY_SERVICES_KEYD_SERVICE_ISSUED_RESPONSE_H_
#define PARLEY_SERVICES_KEYD_SERVICE_ISSUED_RESPONSE_H_

#include "lib/rpc/gate.h"
#include "parley/key/v1/key_service.pb.h"
#include "services/keyd/keys/credentials.h"
#include "services/keyd/trust/trust_authority.h"

namespace parley::keyd {

void FillResponse(const Credentials::Issued& issued, key::v1::IssueCredentialResponse* response);

TrustAuthority::Caller ToTrustCaller(const rpc::Caller& caller);

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_SERVICE_ISSUED_RESPONSE_H_
