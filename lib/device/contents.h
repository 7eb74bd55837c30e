// What a device file holds once it is unlocked: who this device is, whom it believes, and what it has under way.
//
// Threads: const methods may be called from several threads at once; the others need a lock of the caller.
#ifndef PARLEY_LIB_DEVICE_CONTENTS_H_
#define PARLEY_LIB_DEVICE_CONTENTS_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/base/secret.h"
#include "lib/keys/credential.h"
#include "lib/sas/attempts.h"
#include "lib/sas/message.h"
#include "lib/trust/chain.h"
#include "parley/access/v1/access.pb.h"

namespace parley::device {

// This device's side of one invitation. It is written before anything that depends on it leaves the device.
struct Enrolment {
  sas::Role role = sas::Role::kGreeter;
  sas::Kind kind = sas::Kind::kUser;
  // When the invitation ends, and the use of this with it; whole seconds.
  absl::Time not_after = absl::UnixEpoch();
  // An attempt counts as suspected from before a nonce is out until it is confirmed, so that a crash in between is
  // counted.
  sas::Attempts attempts;
  // The result of sas::Exchange::SaveState; empty until the exchange is confirmed.
  Secret exchange;
  // This side's name towards the relay: 16 bytes, kept with the exchange.
  std::string instance;
  // The link that was pasted, so that `claim` goes on without it. A claimer's only.
  Secret link;
  // The user that this greeter invited itself, so that nobody else can change the name. Empty if another admin did, and
  // for a device.
  std::string user_name;
  access::v1::Role user_role = access::v1::ROLE_UNSPECIFIED;
  // The id of the call of TrustService.Enrol, made before the call is sent: the same bytes are sent again after a
  // crash. A greeter's only.
  std::string request_id;
  std::vector<std::string> certificates;
};

struct Contents {
  std::string organisation;
  // 32 bytes; empty until this device is enrolled.
  std::string root_key;

  // Ids of 16 bytes, in the form of lib/trust.
  std::string user_id;
  std::string device_id;
  std::string user_name;
  std::string device_label;
  // The role when this device was enrolled; the chain knows the present one.
  access::v1::Role role = access::v1::ROLE_UNSPECIFIED;

  // The device's Ed25519 seed, and the user's X25519 and AEAD keys, which are the same on all of the user's devices. 32
  // bytes each.
  Secret signing_seed;
  Secret encryption_key;
  Secret manifest_key;

  std::optional<keys::Credential> credential;
  // The newest certificate that this device has seen. A chain without it was cut or forged (trust::Chain::Remembers).
  trust::Head head;
  // Enrolments by the name of the invitation.
  std::map<std::string, Enrolment> enrolments;

  // Returns whether the claim was completed. If it was interrupted, nothing but an enrolment may use the file.
  bool enrolled() const { return !root_key.empty() && credential.has_value(); }
};

// Returns the plaintext of a device file: device_file.proto.
Secret FormatContents(const Contents& contents);
// Returns INVALID_ARGUMENT (DEVICE_FILE_DAMAGED) for anything else than FormatContents makes.
absl::StatusOr<Contents> ParseContents(const Secret& bytes);

}  // namespace parley::device

#endif  // PARLEY_LIB_DEVICE_CONTENTS_H_
