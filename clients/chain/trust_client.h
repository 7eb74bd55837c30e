// Gets the chain of trust from keyd for a member of the organisation, and verifies it here.
//
// keyd is believed in nothing: what comes from it is verified up to the root key that this device was given when it was
// enrolled, and must go on from what the device has seen before.
//
// Threads: all methods may be called from any thread. They block, for at most 30 seconds a call.
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

// Turns what keyd issued into the form in which its holder keeps it. Wipes the secrets in the response.
keys::Credential ToCredential(key::v1::IssueCredentialResponse* response);

class TrustClient {
 public:
  virtual ~TrustClient() = default;

  // Returns the whole chain. Returns DATA_LOSS (CHAIN_ROLLED_BACK) if it does not go on from `seen`, or the errors of
  // Chain and of the connection.
  virtual absl::StatusOr<Chain> FetchChain(absl::string_view root_verification_key, const Head& seen) = 0;

  // Adds what the chain does not have yet. Returns the errors of Chain and of the connection; the chain then has what
  // was verified before.
  virtual absl::Status ExtendChain(Chain* chain) = 0;

  // Calls TrustService.Enrol. Returns ABORTED (CHAIN_MOVED) if the certificates must be made anew, or the errors of the
  // connection.
  virtual absl::StatusOr<v1::EnrolResponse> Enrol(const v1::EnrolRequest& request) = 0;
};

// `clock` must outlive the client. Returns the errors of transport::Channel::Create, NOT_FOUND (CREDENTIAL_AUDIENCE),
// or FAILED_PRECONDITION (KEY_EXPIRED).
absl::StatusOr<std::unique_ptr<TrustClient>> ConnectKeyd(const keys::Credential& credential, Clock* clock);

}  // namespace parley::trust

#endif  // PARLEY_CLIENTS_CHAIN_TRUST_CLIENT_H_
