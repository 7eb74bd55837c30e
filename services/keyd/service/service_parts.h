// What the two services of keyd call.
#ifndef PARLEY_SERVICES_KEYD_SERVICE_SERVICE_PARTS_H_
#define PARLEY_SERVICES_KEYD_SERVICE_SERVICE_PARTS_H_

#include <functional>

#include "lib/audit/audit_log.h"
#include "lib/rpc/gate.h"
#include "lib/rpc/live_streams.h"
#include "parley/key/v1/key_service.pb.h"
#include "services/keyd/trust/trust_authority.h"

namespace parley::keyd {

// All must outlive the services.
struct ServiceParts {
  const KeyStore* store = nullptr;
  const Organisation* organisation = nullptr;
  RootKeys* roots = nullptr;
  Credentials* credentials = nullptr;
  TrustAuthority* trust = nullptr;
  const rpc::Gate* gate = nullptr;
  rpc::LiveStreams* streams = nullptr;
  audit::AuditLog* audit = nullptr;
  // Is told of a credential that the caller has revoked, perhaps that of its own connection.
  std::function<void(const key::v1::CredentialRecord& record, const rpc::Caller& caller)> on_revoked;
  // Is told of another primary epoch; `retired`: perhaps there are fewer than before.
  std::function<void(bool retired)> on_rotated;
};

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_SERVICE_SERVICE_PARTS_H_
