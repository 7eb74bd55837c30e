#include "lib/trust/chain.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/crypto/signature.h"
#include "lib/trust/certificate.h"
#include "lib/trust/form.h"

namespace parley::trust {
namespace {

using access::v1::ROLE_ADMIN;
using access::v1::ROLE_DEVICE;
using v1::Certificate;
using v1::SignedCertificate;

// The last sequence that the root may sign.
constexpr int64_t kRootSequences = 2;

absl::Status Refuse(absl::StatusCode code, absl::string_view reason, absl::string_view sentence) {
  return Error(code, reason, "the chain of trust refuses a certificate: ", sentence);
}

absl::Status NotAllowed(absl::string_view sentence) {
  return Refuse(absl::StatusCode::kPermissionDenied, "CHAIN_ROLE", sentence);
}

absl::Status Taken(absl::string_view sentence) {
  return Refuse(absl::StatusCode::kAlreadyExists, "CHAIN_TAKEN", sentence);
}

absl::Status Unknown(absl::string_view sentence) {
  return Refuse(absl::StatusCode::kNotFound, "CHAIN_UNKNOWN", sentence);
}

absl::Status Revoked(absl::string_view sentence) {
  return Refuse(absl::StatusCode::kFailedPrecondition, "CHAIN_REVOKED", sentence);
}

absl::Status LastAdmin() {
  return Refuse(absl::StatusCode::kFailedPrecondition, "CHAIN_LAST_ADMIN",
                "it would leave no admin with a device; enrol another admin first");
}

std::string TimeText(absl::Time time) { return absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", time, absl::UTCTimeZone()); }

// What is never used a second time, in one set: a letter for its kind, then its bytes.
std::string IdMark(absl::string_view id) { return absl::StrCat("i", id); }
std::string EncryptionKeyMark(absl::string_view key) { return absl::StrCat("e", key); }
std::string VerificationKeyMark(absl::string_view key) { return absl::StrCat("v", key); }

}  // namespace

absl::StatusOr<Chain> Chain::Create(absl::string_view root_verification_key) {
  if (root_verification_key.size() != crypto::kVerificationKeyBytes) {
    return InvalidArgument("CHAIN_ROOT_KEY", "the organisation's root verification key must have 32 bytes");
  }
  return Chain(std::string(root_verification_key));
}

absl::Status Chain::Append(const SignedCertificate& certificate, absl::Time now) {
  return Add(certificate, now).status();
}

absl::Status Chain::AppendTogether(const std::vector<SignedCertificate>& certificates, absl::Time now) {
  const absl::Time last_time = last_time_;
  const auto awaiting_device = awaiting_device_;
  std::vector<Undo> undo;
  absl::Status status;
  for (const SignedCertificate& certificate : certificates) {
    absl::StatusOr<Undo> added = Add(certificate, now);
    status = added.status();
    if (!status.ok()) break;
    undo.push_back(*std::move(added));
  }
  if (status.ok() && !certificates.empty()) status = CheckWhole();
  if (status.ok()) return status;
  while (!undo.empty()) {
    undo.back()(this);
    undo.pop_back();
    hashes_.pop_back();
    certificates_.pop_back();
  }
  last_time_ = last_time;
  awaiting_device_ = awaiting_device;
  return status;
}

absl::StatusOr<Chain::Undo> Chain::Add(const SignedCertificate& signed_certificate, absl::Time now) {
  ASSIGN_OR_RETURN(Certificate certificate, ParseCertificate(signed_certificate));
  RETURN_IF_ERROR(CheckPlace(certificate));
  RETURN_IF_ERROR(CheckAuthor(certificate, signed_certificate));
  const absl::Time time = ToTime(certificate.time());
  RETURN_IF_ERROR(CheckTime(time, now));
  RETURN_IF_ERROR(CheckPair(certificate));
  ASSIGN_OR_RETURN(Undo undo, State(certificate, time));
  if (certificate.has_user()) {
    awaiting_device_.emplace(certificate.author_device(), certificate.user().user());
  } else {
    awaiting_device_.reset();
  }
  hashes_.push_back(HashOf(signed_certificate));
  certificates_.push_back(std::move(certificate));
  last_time_ = time;
  return undo;
}

absl::Status Chain::CheckPlace(const Certificate& certificate) const {
  const int64_t due = static_cast<int64_t>(hashes_.size()) + 1;
  if (certificate.sequence() > due) {
    return Refuse(absl::StatusCode::kInvalidArgument, "CHAIN_GAP",
                  absl::StrCat("it has sequence ", certificate.sequence(), " where ", due, " is due"));
  }
  if (certificate.sequence() < due) {
    return Refuse(absl::StatusCode::kAlreadyExists, "CHAIN_DUPLICATE",
                  absl::StrCat("there is one with sequence ", certificate.sequence(), " already"));
  }
  if (certificate.previous_hash() != (due == 1 ? std::string(kHashBytes, '\0') : hashes_.back())) {
    return Refuse(absl::StatusCode::kInvalidArgument, "CHAIN_PREVIOUS",
                  "it follows another certificate than the last one");
  }
  return absl::OkStatus();
}

absl::Status Chain::CheckAuthor(const Certificate& certificate, const SignedCertificate& signed_certificate) const {
  absl::string_view key = root_;
  if (certificate.author_device().empty()) {
    if (certificate.sequence() > kRootSequences) {
      return Refuse(absl::StatusCode::kPermissionDenied, "CHAIN_ROOT_REUSED",
                    "the root key signs the first admin and its device, and nothing after");
    }
  } else {
    const Device* const author = FindDevice(certificate.author_device());
    if (author == nullptr) {
      return Refuse(absl::StatusCode::kPermissionDenied, "CHAIN_AUTHOR_UNKNOWN",
                    "the device that signed it is not in the chain");
    }
    if (!IsLive(author->id)) {
      return Refuse(absl::StatusCode::kPermissionDenied, "CHAIN_AUTHOR_REVOKED",
                    absl::StrCat("the device that signed it, ", author->label, ", or its user was revoked"));
    }
    key = author->verification_key;
  }
  if (IsSignedBy(key, signed_certificate)) return absl::OkStatus();
  return Refuse(absl::StatusCode::kPermissionDenied, "CHAIN_SIGNATURE", "its signature is not its author's");
}

absl::Status Chain::CheckTime(absl::Time time, absl::Time now) const {
  if (time > last_time_ && time <= now + kMaxClockAhead) return absl::OkStatus();
  const std::string when = time > last_time_
                               ? absl::StrCat("more than 5 minutes ahead of this clock, which says ", TimeText(now))
                               : absl::StrCat("not later than the one before it, of ", TimeText(last_time_));
  return Refuse(absl::StatusCode::kInvalidArgument, "CHAIN_TIME",
                absl::StrCat("it is of ", TimeText(time), ", ", when, "; check the clocks"));
}

absl::Status Chain::CheckPair(const Certificate& certificate) const {
  if (!awaiting_device_.has_value()) return absl::OkStatus();
  const auto& [author, user] = *awaiting_device_;
  if (certificate.has_device() && certificate.device().user() == user && certificate.author_device() == author) {
    return absl::OkStatus();
  }
  return Refuse(absl::StatusCode::kInvalidArgument, "CHAIN_INCOMPLETE",
                "the one before it is a new user, whose first device by the same author is due");
}

absl::StatusOr<Chain::Undo> Chain::State(const Certificate& certificate, absl::Time time) {
  switch (certificate.statement_case()) {
    case Certificate::kUser:
      return StateUser(certificate, time);
    case Certificate::kDevice:
      return StateDevice(certificate, time);
    case Certificate::kRole:
      return StateRole(certificate);
    case Certificate::kUserRevocation:
      return StateUserRevocation(certificate, time);
    case Certificate::kDeviceRevocation:
      return StateDeviceRevocation(certificate, time);
    case Certificate::STATEMENT_NOT_SET:
      break;
  }
  return InvalidArgument("CHAIN_MALFORMED", "a certificate states nothing");
}

absl::StatusOr<Chain::Undo> Chain::StateUser(const Certificate& certificate, absl::Time time) {
  const v1::UserCertificate& stated = certificate.user();
  if (hashes_.empty()) {
    if (stated.role() != ROLE_ADMIN) return NotAllowed("the first user must be an admin");
  } else if (!IsByAdmin(certificate)) {
    return NotAllowed("only admins add users");
  }
  if (FindUserByName(stated.name()) != nullptr) return Taken(absl::StrCat("there is a user ", stated.name()));
  const std::vector<std::string> marks = {IdMark(stated.user()), EncryptionKeyMark(stated.encryption_key())};
  for (const std::string& mark : marks) {
    if (used_.count(mark) != 0) return Taken("its user's id or key was used before");
  }
  used_.insert(marks.begin(), marks.end());
  const User& user =
      users_[stated.user()] = {stated.user(), stated.name(), stated.role(), stated.encryption_key(), time, {}};
  user_order_.push_back(user.id);
  live_names_[user.name] = user.id;
  return Undo([id = user.id, marks](Chain* chain) {
    chain->live_names_.erase(chain->users_.at(id).name);
    chain->users_.erase(id);
    chain->user_order_.pop_back();
    for (const std::string& mark : marks) chain->used_.erase(mark);
  });
}

absl::StatusOr<Chain::Undo> Chain::StateDevice(const Certificate& certificate, absl::Time time) {
  const v1::DeviceCertificate& stated = certificate.device();
  const auto user = users_.find(stated.user());
  if (user == users_.end()) return Unknown("it adds a device to a user who is not in the chain");
  if (user->second.revoked.has_value()) return Revoked("it adds a device to a user who was revoked");
  if (!awaiting_device_.has_value()) {
    const User* const author = AuthorOf(certificate);
    if (author == nullptr || author->id != stated.user())
      return NotAllowed("a further device is added by its own user");
    if (author->role == ROLE_DEVICE) return NotAllowed("a machine has one device only");
  }
  const std::vector<std::string> marks = {IdMark(stated.device()), VerificationKeyMark(stated.verification_key())};
  for (const std::string& mark : marks) {
    if (used_.count(mark) != 0) return Taken("its device's id or key was used before");
  }
  used_.insert(marks.begin(), marks.end());
  devices_[stated.device()] = {stated.device(), stated.user(), stated.label(), stated.verification_key(), time, {}};
  devices_of_[stated.user()].push_back(stated.device());
  return Undo([id = stated.device(), of = stated.user(), marks](Chain* chain) {
    chain->devices_.erase(id);
    chain->devices_of_.at(of).pop_back();
    for (const std::string& mark : marks) chain->used_.erase(mark);
  });
}

absl::StatusOr<Chain::Undo> Chain::StateRole(const Certificate& certificate) {
  if (!IsByAdmin(certificate)) return NotAllowed("only admins change roles");
  const auto found = users_.find(certificate.role().user());
  if (found == users_.end()) return Unknown("it changes the role of a user who is not in the chain");
  User& user = found->second;
  if (user.revoked.has_value()) return Revoked("it changes the role of a user who was revoked");
  if (user.role == ROLE_DEVICE) return NotAllowed("a machine stays one");
  if (user.role == certificate.role().role()) return NotAllowed("its user has this role already");
  if (user.role == ROLE_ADMIN && !AdminRemains(user.id, "")) return LastAdmin();
  const access::v1::Role before = std::exchange(user.role, certificate.role().role());
  return Undo([id = user.id, before](Chain* chain) { chain->users_.at(id).role = before; });
}

absl::StatusOr<Chain::Undo> Chain::StateUserRevocation(const Certificate& certificate, absl::Time time) {
  if (!IsByAdmin(certificate)) return NotAllowed("only admins revoke users");
  const auto found = users_.find(certificate.user_revocation().user());
  if (found == users_.end()) return Unknown("it revokes a user who is not in the chain");
  User& user = found->second;
  if (user.revoked.has_value()) return Revoked(absl::StrCat("the user ", user.name, " was revoked before"));
  if (user.role == ROLE_ADMIN && !AdminRemains(user.id, "")) return LastAdmin();
  user.revoked = time;
  live_names_.erase(user.name);
  return Undo([id = user.id](Chain* chain) {
    User& restored = chain->users_.at(id);
    restored.revoked.reset();
    chain->live_names_[restored.name] = id;
  });
}

absl::StatusOr<Chain::Undo> Chain::StateDeviceRevocation(const Certificate& certificate, absl::Time time) {
  const auto found = devices_.find(certificate.device_revocation().device());
  if (found == devices_.end()) return Unknown("it revokes a device that is not in the chain");
  Device& device = found->second;
  const User* const author = AuthorOf(certificate);
  if (!IsByAdmin(certificate) && (author == nullptr || author->id != device.user)) {
    return NotAllowed("a device is revoked by its own user or an admin");
  }
  if (!IsLive(device.id)) return Revoked(absl::StrCat("the device ", device.label, " or its user was revoked before"));
  if (FindUser(device.user)->role == ROLE_ADMIN && !AdminRemains("", device.id)) return LastAdmin();
  device.revoked = time;
  return Undo([id = device.id](Chain* chain) { chain->devices_.at(id).revoked.reset(); });
}

const User* Chain::AuthorOf(const Certificate& certificate) const {
  const Device* const device = FindDevice(certificate.author_device());
  return device == nullptr ? nullptr : FindUser(device->user);
}

bool Chain::IsByAdmin(const Certificate& certificate) const {
  const User* const author = AuthorOf(certificate);
  return author != nullptr && author->role == ROLE_ADMIN;
}

bool Chain::AdminRemains(absl::string_view without_user, absl::string_view without_device) const {
  return std::any_of(devices_.begin(), devices_.end(), [&](const auto& named) {
    const Device& device = named.second;
    return device.id != without_device && device.user != without_user && IsLive(device.id) &&
           FindUser(device.user)->role == ROLE_ADMIN;
  });
}

absl::Status Chain::CheckWhole() const {
  if (hashes_.empty()) {
    return FailedPrecondition("CHAIN_EMPTY", "there is no chain of trust yet; found it with `parley org init`");
  }
  if (awaiting_device_.has_value()) {
    return FailedPrecondition(
        "CHAIN_INCOMPLETE",
        "the chain of trust ends with a user without a device, as an honest one never does; do not believe "
        "the server that gave it");
  }
  return absl::OkStatus();
}

absl::Status Chain::Remembers(const Head& seen) const {
  if (seen.sequence == 0 || HashAt(seen.sequence) == seen.hash) return absl::OkStatus();
  return DataLoss("CHAIN_ROLLED_BACK", "the chain of trust, of ", hashes_.size(),
                  " certificates, is not the one that was seen "
                  "before, up to ",
                  seen.sequence, "; somebody cut it off or replaced it: do not go on, and ask your admin");
}

Head Chain::head() const {
  if (hashes_.empty()) return {};
  return {static_cast<int64_t>(hashes_.size()), hashes_.back()};
}

std::string Chain::HashAt(int64_t sequence) const {
  if (sequence < 1 || sequence > static_cast<int64_t>(hashes_.size())) return "";
  return hashes_[sequence - 1];
}

const User* Chain::FindUser(absl::string_view id) const {
  const auto found = users_.find(std::string(id));
  return found == users_.end() ? nullptr : &found->second;
}

const Device* Chain::FindDevice(absl::string_view id) const {
  const auto found = devices_.find(std::string(id));
  return found == devices_.end() ? nullptr : &found->second;
}

const User* Chain::FindUserByName(absl::string_view name) const {
  const auto found = live_names_.find(std::string(name));
  return found == live_names_.end() ? nullptr : FindUser(found->second);
}

std::vector<const User*> Chain::Users() const {
  std::vector<const User*> users;
  for (const std::string& id : user_order_) users.push_back(FindUser(id));
  return users;
}

std::vector<const Device*> Chain::DevicesOf(absl::string_view user) const {
  std::vector<const Device*> devices;
  if (const auto found = devices_of_.find(std::string(user)); found != devices_of_.end()) {
    for (const std::string& id : found->second) devices.push_back(FindDevice(id));
  }
  return devices;
}

bool Chain::IsLive(absl::string_view device) const {
  const Device* const found = FindDevice(device);
  return found != nullptr && !found->revoked.has_value() && !FindUser(found->user)->revoked.has_value();
}

}  // namespace parley::trust
