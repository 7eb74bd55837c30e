// The chain of trust: who belongs to the organisation, verified certificate by certificate up to its root key.
//
// Guarantees: holds only what keeps every rule of docs/protocol/certificates.md; a certificate that breaks one is
// refused with the rule's reason and changes nothing. Believes no server: order, authors, roles, signatures and times
// are checked here. Does no I/O. A newer chain than the one at hand cannot be known from inside: see Remembers.
//
// Threads: const methods may be called at once; otherwise as any value. Returned pointers live until the chain is
// changed or goes.
//
//   ASSIGN_OR_RETURN(trust::Chain chain, trust::Chain::Create(root_verification_key));
//   for (const SignedCertificate& certificate : certificates) RETURN_IF_ERROR(chain.Append(certificate, clock.Now()));
//   RETURN_IF_ERROR(chain.CheckWhole());
//   RETURN_IF_ERROR(chain.Remembers(head_seen_last_time));
#ifndef PARLEY_LIB_TRUST_CHAIN_H_
#define PARLEY_LIB_TRUST_CHAIN_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "parley/access/v1/access.pb.h"
#include "parley/trust/v1/certificate.pb.h"

namespace parley::trust {

inline constexpr size_t kIdBytes = 16;
inline constexpr size_t kHashBytes = 32;
inline constexpr size_t kMaxCertificateBytes = 1024;
inline constexpr size_t kMaxNameBytes = 48;
inline constexpr size_t kMaxLabelBytes = 64;
// How far an author's clock may be ahead of the verifier's.
inline constexpr absl::Duration kMaxClockAhead = absl::Minutes(5);

// The end of a chain: what a client remembers of the one that it has seen. Sequence 0 without a hash stands for nothing
// yet.
struct Head {
  int64_t sequence = 0;
  // The certificate's SHA-256(certificate_bytes ‖ signature).
  std::string hash;

  friend bool operator==(const Head&, const Head&) = default;
};

struct User {
  std::string id;
  std::string name;
  // The role at the end of the chain.
  access::v1::Role role = access::v1::ROLE_UNSPECIFIED;
  std::string encryption_key;
  absl::Time added;
  std::optional<absl::Time> revoked;
};

struct Device {
  std::string id;
  // The id of its user.
  std::string user;
  std::string label;
  std::string verification_key;
  absl::Time added;
  // When the device itself was revoked. A device of a revoked user is not live either.
  std::optional<absl::Time> revoked;
};

class Chain {
 public:
  // Makes an empty chain below this root. Returns INVALID_ARGUMENT (CHAIN_ROOT_KEY) unless it is a key of 32 bytes.
  static absl::StatusOr<Chain> Create(absl::string_view root_verification_key);

  // Verifies and adds the next certificate. `now` is the verifier's time. Returns, in the order in which
  // docs/protocol/certificates.md has them: CHAIN_MALFORMED, CHAIN_GAP, CHAIN_DUPLICATE, CHAIN_PREVIOUS,
  // CHAIN_ROOT_REUSED, CHAIN_AUTHOR_UNKNOWN, CHAIN_AUTHOR_REVOKED, CHAIN_SIGNATURE, CHAIN_TIME, CHAIN_INCOMPLETE,
  // CHAIN_ROLE, CHAIN_TAKEN, CHAIN_UNKNOWN, CHAIN_REVOKED, CHAIN_LAST_ADMIN.
  absl::Status Append(const v1::SignedCertificate& certificate, absl::Time now);
  // Adds all of them or none. Returns the error of the first that is refused, or CHAIN_INCOMPLETE.
  absl::Status AppendTogether(const std::vector<v1::SignedCertificate>& certificates, absl::Time now);

  // Returns FAILED_PRECONDITION: CHAIN_EMPTY, or CHAIN_INCOMPLETE if the chain ends between a user and its first
  // device, where an honest one never ends.
  absl::Status CheckWhole() const;
  // Checks that this chain goes on from a head that was seen before. Returns DATA_LOSS (CHAIN_ROLLED_BACK) if it is
  // shorter or differs: whoever gave it cut something off, or forged it.
  absl::Status Remembers(const Head& seen) const;

  Head head() const;
  // Returns the hash of one certificate, or an empty text outside of the chain.
  std::string HashAt(int64_t sequence) const;
  // Returns all certificates in their order, for people who look them through.
  const std::vector<v1::Certificate>& certificates() const { return certificates_; }
  // Returns when the newest certificate was made; the infinite past in an empty chain.
  absl::Time last_time() const { return last_time_; }
  const std::string& root_verification_key() const { return root_; }

  // Return null if there is none. Revoked ones are found too.
  const User* FindUser(absl::string_view id) const;
  const Device* FindDevice(absl::string_view id) const;
  // Returns the user with this name that is not revoked.
  const User* FindUserByName(absl::string_view name) const;
  // Return them in the order in which they were added.
  std::vector<const User*> Users() const;
  std::vector<const Device*> DevicesOf(absl::string_view user) const;
  // Returns whether the device is there, and neither it nor its user was revoked.
  bool IsLive(absl::string_view device) const;

 private:
  explicit Chain(std::string root) : root_(std::move(root)) {}

  // Puts back what a certificate changed.
  using Undo = std::function<void(Chain*)>;
  absl::StatusOr<Undo> Add(const v1::SignedCertificate& signed_certificate, absl::Time now);
  absl::Status CheckPlace(const v1::Certificate& certificate) const;
  absl::Status CheckAuthor(const v1::Certificate& certificate, const v1::SignedCertificate& signed_certificate) const;
  absl::Status CheckTime(absl::Time time, absl::Time now) const;
  absl::Status CheckPair(const v1::Certificate& certificate) const;
  absl::StatusOr<Undo> State(const v1::Certificate& certificate, absl::Time time);
  absl::StatusOr<Undo> StateUser(const v1::Certificate& certificate, absl::Time time);
  absl::StatusOr<Undo> StateDevice(const v1::Certificate& certificate, absl::Time time);
  absl::StatusOr<Undo> StateRole(const v1::Certificate& certificate);
  absl::StatusOr<Undo> StateUserRevocation(const v1::Certificate& certificate, absl::Time time);
  absl::StatusOr<Undo> StateDeviceRevocation(const v1::Certificate& certificate, absl::Time time);
  // Returns the author's user, or null for the root.
  const User* AuthorOf(const v1::Certificate& certificate) const;
  bool IsByAdmin(const v1::Certificate& certificate) const;
  // Returns whether an admin with a live device is left without this user, or without this device.
  bool AdminRemains(absl::string_view without_user, absl::string_view without_device) const;

  std::string root_;
  // Hashes by sequence, from 1.
  std::vector<std::string> hashes_;
  std::vector<v1::Certificate> certificates_;
  absl::Time last_time_ = absl::InfinitePast();
  // The author and the id of a user whose first device comes next.
  std::optional<std::pair<std::string, std::string>> awaiting_device_;
  // Users and devices by their ids.
  std::unordered_map<std::string, User> users_;
  std::unordered_map<std::string, Device> devices_;
  // Ids of users, oldest first; ids of their devices, by user; users that are not revoked, by name.
  std::vector<std::string> user_order_;
  std::unordered_map<std::string, std::vector<std::string>> devices_of_;
  std::unordered_map<std::string, std::string> live_names_;
  // Ids and keys, none of which may be used twice.
  std::unordered_set<std::string> used_;
};

}  // namespace parley::trust

#endif  // PARLEY_LIB_TRUST_CHAIN_H_
