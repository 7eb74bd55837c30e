// Becomes a member of an organisation with an invitation: compares codes with the greeter, and keeps what it is given
// only if the organisation's chain of trust proves that this device's own keys are in it.
//
// Threads: one thread. Run blocks.
#ifndef PARLEY_CLIENTS_ENROL_CLAIMER_H_
#define PARLEY_CLIENTS_ENROL_CLAIMER_H_

#include <functional>
#include <memory>
#include <string>

#include "clients/chain/trust_client.h"
#include "clients/enrol/party.h"
#include "lib/keys/invitation_link.h"
#include "parley/enrol/v1/payload.pb.h"

namespace parley::enrol {

// Returns what a device file of this claim holds in the beginning: new keys, and nothing to be believed. `link` is what
// was pasted, parsed as `invitation`.
device::Contents ContentsOfClaim(const keys::InvitationLink& invitation, const Secret& link, std::string device_label);

class Claimer final : public Party {
 public:
  // Connects to keyd with the credential that the greeter gave.
  using KeydConnector = std::function<absl::StatusOr<std::unique_ptr<trust::TrustClient>>(const keys::Credential&)>;

  Claimer(PartyOptions options, KeydConnector connect_keyd);

 private:
  absl::StatusOr<Secret> MakePayload(int step, const Secret& received) override;
  absl::StatusOr<Secret> MakeNewcomer() const;
  // Verifies what the greeter gave, and keeps it.
  absl::Status KeepEnrolled(const Secret& received);

  const KeydConnector connect_keyd_;
};

}  // namespace parley::enrol

#endif  // PARLEY_CLIENTS_ENROL_CLAIMER_H_
