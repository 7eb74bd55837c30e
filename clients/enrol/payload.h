// Reads and writes steps 6 and 7 as bytes (payload.proto): they are checked on the way in, and wiped on the way out.
//
// Threads: free functions without state; an EnrolledPayload belongs to one thread at a time.
#ifndef PARLEY_CLIENTS_ENROL_PAYLOAD_H_
#define PARLEY_CLIENTS_ENROL_PAYLOAD_H_

#include "absl/status/statusor.h"
#include "lib/base/secret.h"
#include "lib/sas/message.h"
#include "parley/enrol/v1/payload.pb.h"

namespace parley::enrol {

// Returns INVALID_ARGUMENT (NEWCOMER_MALFORMED) for keys or a label that do not fit, or a field that this kind does not
// have.
absl::StatusOr<v1::Newcomer> ReadNewcomer(const Secret& payload, sas::Kind kind);

// The payload of step 7. It holds secrets, and wipes them.
class EnrolledPayload {
 public:
  EnrolledPayload() = default;
  EnrolledPayload(EnrolledPayload&&) = default;
  EnrolledPayload(const EnrolledPayload&) = delete;
  EnrolledPayload& operator=(const EnrolledPayload&) = delete;
  ~EnrolledPayload();

  // Returns INVALID_ARGUMENT (ENROLLED_MALFORMED).
  static absl::StatusOr<EnrolledPayload> Read(const Secret& payload, sas::Kind kind);
  Secret Serialize() const;

  v1::Enrolled* operator->() { return &enrolled_; }
  const v1::Enrolled* operator->() const { return &enrolled_; }
  const v1::Enrolled& operator*() const { return enrolled_; }

  void SetCredential(const Secret& line);
  void SetUserKeys(const Secret& encryption_key, const Secret& manifest_key);
  Secret Credential() const { return Secret::CopyOf(enrolled_.credential()); }
  Secret UserEncryptionKey() const { return Secret::CopyOf(enrolled_.user_encryption_private_key()); }
  Secret UserManifestKey() const { return Secret::CopyOf(enrolled_.user_manifest_key()); }

 private:
  v1::Enrolled enrolled_;
};

}  // namespace parley::enrol

#endif  // PARLEY_CLIENTS_ENROL_PAYLOAD_H_
