// The chain of trust as a member gets it from keyd, verified here.
//
// keyd is believed in nothing: what comes from it is verified up to the root key that this device was given when it was
// enrolled, and must go on from what the device has seen before.
//
// Threads: each method may be called from any thread, and blocks: at most 30 seconds a call.
#ifndef PARLEY_CLIENTS_CHAIN_TRUST_CLIENT_H_
#define PARLEY_CLIENTS_CHAIN_TRUST_CLIENT_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lib/base/clock.h"
#include "lib/keys/credential.h"
#include "lib/trust/chain.h"
#include "parley/trust/v1/trust_service.pb.h"

namespace parley::trust {

// What keyd issued, as its holder keeps it. Wipes the secrets in the response.
keys::Credential ToCredential(key::v1::IssueCredentialResponse* response);

class TrustClient {
 public:
  virtual ~TrustClient() = default;

  // The whole chain. The errors of Chain; DATA_LOSS (CHAIN_ROLLED_BACK) when it does not go on from `seen`; those of
  // the connection.
  virtual absl::StatusOr<Chain> FetchChain(absl::string_view root_verification_key, const Head& seen) = 0;

  // What the chain does not have yet, added to it. The errors of Chain and those of the connection; then the chain has
  // what was verified before it.
  virtual absl::Status ExtendChain(Chain* chain) = 0;

  // TrustService.Enrol. ABORTED (CHAIN_MOVED): make the certificates anew.
  virtual absl::StatusOr<v1::EnrolResponse> Enrol(const v1::EnrolRequest& request) = 0;
};

// The errors of transport::Channel::Create, NOT_FOUND (CREDENTIAL_AUDIENCE), FAILED_PRECONDITION (KEY_EXPIRED). `clock`
// must outlive it.
absl::StatusOr<std::unique_ptr<TrustClient>> ConnectKeyd(const keys::Credential& credential, Clock* clock);

}  // namespace parley::trust

#endif  // PARLEY_CLIENTS_CHAIN_TRUST_CLIENT_H_
