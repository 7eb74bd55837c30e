// What a device file holds, once it is unlocked: who this device is, whom it believes, and what it has under way.
//
// Threads: as any value.
#ifndef PARLEY_LIB_DEVICE_CONTENTS_H_
#define PARLEY_LIB_DEVICE_CONTENTS_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/base/secret.h"
#include "lib/keys/credential.h"
#include "lib/sas/attempts.h"
#include "lib/sas/message.h"
#include "lib/trust/chain.h"
#include "parley/access/v1/access.pb.h"

namespace parley::device {

// This device's side of one invitation. Written before anything that depends on it leaves the device.
struct Enrolment {
  sas::Role role = sas::Role::kGreeter;
  sas::Kind kind = sas::Kind::kUser;
  // When the invitation ends, and with it the use of this; whole seconds.
  absl::Time not_after = absl::UnixEpoch();
  // Counted as suspected from before a nonce is out until it is confirmed, so that a crash in between is counted.
  sas::Attempts attempts;
  // sas::Exchange::SaveState; empty until the exchange is confirmed.
  Secret exchange;
  // This side's name towards the relay, 16 bytes, kept with the exchange.
  std::string instance;
  // A claimer's: the pasted link, so that `claim` goes on without it.
  Secret link;
  // A greeter's: whom it invited itself, for nobody else to change. Empty where another admin did, and for a device.
  std::string user_name;
  access::v1::Role user_role = access::v1::ROLE_UNSPECIFIED;
  // A greeter's: the call of TrustService.Enrol, made before it is sent: the same bytes are sent again after a crash.
  std::string request_id;
  std::vector<std::string> certificates;
};

struct Contents {
  std::string organisation;
  // 32 bytes; empty until this device is enrolled.
  std::string root_key;

  // 16 bytes each, as lib/trust has them.
  std::string user_id;
  std::string device_id;
  std::string user_name;
  std::string device_label;
  // As it was when this device was enrolled; the chain knows it now.
  access::v1::Role role = access::v1::ROLE_UNSPECIFIED;

  // Ed25519 seed of the device; X25519 key and AEAD key of the user, the same on all of the user's devices. 32 bytes.
  Secret signing_seed;
  Secret encryption_key;
  Secret manifest_key;

  std::optional<keys::Credential> credential;
  // The newest certificate that this device has seen: a chain without it was cut or forged (trust::Chain::Remembers).
  trust::Head head;
  // By the invitation's name.
  std::map<std::string, Enrolment> enrolments;

  // Nothing but an enrolment may use a file for which this is false: its claim was interrupted.
  bool enrolled() const { return !root_key.empty() && credential.has_value(); }
};

// The plaintext of a device file: device_file.proto.
Secret FormatContents(const Contents& contents);
// INVALID_ARGUMENT (DEVICE_FILE_DAMAGED).
absl::StatusOr<Contents> ParseContents(const Secret& bytes);

}  // namespace parley::device

#endif  // PARLEY_LIB_DEVICE_CONTENTS_H_
