// What the two services of keyd call, and what they tell of it.
//
// Threads: made and destroyed on one thread; each part says which threads may call it.
#ifndef PARLEY_SERVICES_KEYD_SERVICE_PARTS_H_
#define PARLEY_SERVICES_KEYD_SERVICE_PARTS_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "lib/audit/audit_buffer.h"
#include "lib/rpc/gate.h"
#include "lib/rpc/live_streams.h"
#include "parley/key/v1/key_service.pb.h"
#include "services/keyd/trust/trust_authority.h"

namespace parley::keyd {

// Must outlive the services.
struct KeydParts {
  // Both must outlive the parts.
  KeydParts(store::Store* database, const Clock* clock) : store(database, clock) {}

  const KeyStore store;
  std::unique_ptr<Organisation> organisation;
  std::unique_ptr<RootKeys> roots;
  std::unique_ptr<Credentials> credentials;
  std::unique_ptr<TrustAuthority> trust;
  std::unique_ptr<audit::AuditBuffer> audit;
  std::unique_ptr<rpc::Gate> gate;
  rpc::LiveStreams streams;
  // Waits until the revocation of these credentials ("credentials/{serial}") is in force at every replica. UNAVAILABLE
  // (REPLICAS_BEHIND), and the errors of the store.
  std::function<absl::Status(const std::vector<std::string>& credentials)> await_revoked;
  // Keeps the caller's own connection open as long as the returned value lives, though the call may revoke its key: it
  // still carries the answer.
  std::function<std::shared_ptr<void>(const rpc::Caller& caller)> answering;
  // Is told of another primary epoch; `retired`: perhaps there are fewer than before.
  std::function<void(bool retired)> on_rotated;
};

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_SERVICE_PARTS_H_
