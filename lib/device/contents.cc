#include "lib/device/contents.h"

#include <utility>

#include "lib/base/error.h"
#include "lib/device/device_file.pb.h"

namespace parley::device {
namespace {

constexpr size_t kKeyBytes = 32;
constexpr size_t kInstanceBytes = 16;
// The last second that a protobuf timestamp may name.
constexpr int64_t kMaxUnixSeconds = 253'402'300'799;

absl::Status Damaged() {
  return InvalidArgument(
      "DEVICE_FILE_DAMAGED",
      "the device file opens but does not hold what a device file holds; restore it from a backup, or have "
      "this device enrolled again");
}

// Wipes the secrets that protobuf keeps in ordinary strings.
class WipedContents {
 public:
  WipedContents() = default;
  WipedContents(const WipedContents&) = delete;
  WipedContents& operator=(const WipedContents&) = delete;
  ~WipedContents() {
    for (std::string* secret : {contents_.mutable_signing_seed(), contents_.mutable_encryption_key(),
                                contents_.mutable_manifest_key(), contents_.mutable_credential()}) {
      WipeString(secret);
    }
    for (DeviceContents::Enrolment& enrolment : *contents_.mutable_enrolments()) {
      WipeString(enrolment.mutable_exchange());
      WipeString(enrolment.mutable_link());
    }
  }
  DeviceContents* operator->() { return &contents_; }

 private:
  DeviceContents contents_;
};

void Put(const Secret& secret, std::string* field) {
  const absl::string_view bytes = secret.Expose();
  field->assign(bytes.data(), bytes.size());
}

bool IsEmptyOr(size_t size, absl::string_view bytes) { return bytes.empty() || bytes.size() == size; }

bool IsGood(const DeviceContents& contents) {
  const bool is_role = access::v1::Role_IsValid(contents.role());
  const bool has_head = contents.head_sequence() > 0;
  return is_role && IsEmptyOr(kKeyBytes, contents.root_key()) && IsEmptyOr(trust::kIdBytes, contents.user_id()) &&
         IsEmptyOr(trust::kIdBytes, contents.device_id()) && IsEmptyOr(kKeyBytes, contents.signing_seed()) &&
         IsEmptyOr(kKeyBytes, contents.encryption_key()) && IsEmptyOr(kKeyBytes, contents.manifest_key()) &&
         contents.head_sequence() >= 0 && contents.head_hash().size() == (has_head ? trust::kHashBytes : 0);
}

absl::StatusOr<Enrolment> ReadEnrolment(const DeviceContents::Enrolment& stored) {
  const auto is_one_or_two = [](uint32_t value) { return value == 1 || value == 2; };
  if (stored.invitation().empty() || !is_one_or_two(stored.sas_role()) || !is_one_or_two(stored.kind()) ||
      !access::v1::Role_IsValid(stored.user_role()) || stored.not_after() < 0 || stored.not_after() > kMaxUnixSeconds ||
      !IsEmptyOr(kInstanceBytes, stored.instance())) {
    return Damaged();
  }
  Enrolment enrolment;
  enrolment.role = static_cast<sas::Role>(stored.sas_role());
  enrolment.kind = static_cast<sas::Kind>(stored.kind());
  enrolment.not_after = absl::FromUnixSeconds(stored.not_after());
  enrolment.instance = stored.instance();
  enrolment.user_name = stored.user_name();
  enrolment.user_role = stored.user_role();
  enrolment.attempts = {stored.last_attempt(), stored.suspected(), stored.unseen()};
  enrolment.exchange = Secret::CopyOf(stored.exchange());
  enrolment.link = Secret::CopyOf(stored.link());
  enrolment.request_id = stored.request_id();
  enrolment.certificates.assign(stored.certificates().begin(), stored.certificates().end());
  return enrolment;
}

}  // namespace

Secret FormatContents(const Contents& contents) {
  WipedContents stored;
  stored->set_organisation(contents.organisation);
  stored->set_root_key(contents.root_key);
  stored->set_user_id(contents.user_id);
  stored->set_device_id(contents.device_id);
  stored->set_user_name(contents.user_name);
  stored->set_device_label(contents.device_label);
  stored->set_role(contents.role);
  Put(contents.signing_seed, stored->mutable_signing_seed());
  Put(contents.encryption_key, stored->mutable_encryption_key());
  Put(contents.manifest_key, stored->mutable_manifest_key());
  if (contents.credential.has_value()) Put(keys::FormatCredential(*contents.credential), stored->mutable_credential());
  stored->set_head_sequence(contents.head.sequence);
  stored->set_head_hash(contents.head.hash);
  for (const auto& [invitation, enrolment] : contents.enrolments) {
    DeviceContents::Enrolment* const added = stored->add_enrolments();
    added->set_invitation(invitation);
    added->set_sas_role(static_cast<uint32_t>(enrolment.role));
    added->set_kind(static_cast<uint32_t>(enrolment.kind));
    added->set_not_after(absl::ToUnixSeconds(enrolment.not_after));
    added->set_instance(enrolment.instance);
    added->set_user_name(enrolment.user_name);
    added->set_user_role(enrolment.user_role);
    added->set_last_attempt(enrolment.attempts.last);
    added->set_suspected(enrolment.attempts.suspected);
    added->set_unseen(enrolment.attempts.unseen);
    Put(enrolment.exchange, added->mutable_exchange());
    Put(enrolment.link, added->mutable_link());
    added->set_request_id(enrolment.request_id);
    for (const std::string& certificate : enrolment.certificates) added->add_certificates(certificate);
  }
  // Serialized in place: a string that grows leaves a copy of the secrets behind.
  Secret bytes(stored->ByteSizeLong());
  stored->SerializeToArray(bytes.mutable_bytes(), static_cast<int>(bytes.size()));
  return bytes;
}

absl::StatusOr<Contents> ParseContents(const Secret& bytes) {
  WipedContents stored;
  const absl::string_view plain = bytes.Expose();
  if (!stored->ParseFromArray(plain.data(), static_cast<int>(plain.size())) || !IsGood(*stored.operator->())) {
    return Damaged();
  }
  Contents contents;
  contents.organisation = stored->organisation();
  contents.root_key = stored->root_key();
  contents.user_id = stored->user_id();
  contents.device_id = stored->device_id();
  contents.user_name = stored->user_name();
  contents.device_label = stored->device_label();
  contents.role = stored->role();
  contents.signing_seed = Secret::CopyOf(stored->signing_seed());
  contents.encryption_key = Secret::CopyOf(stored->encryption_key());
  contents.manifest_key = Secret::CopyOf(stored->manifest_key());
  if (!stored->credential().empty()) {
    absl::StatusOr<keys::Credential> credential = keys::ParseCredential(Secret::CopyOf(stored->credential()));
    if (!credential.ok()) return Damaged();
    contents.credential = *std::move(credential);
  }
  contents.head = {stored->head_sequence(), stored->head_hash()};
  for (const DeviceContents::Enrolment& enrolment : stored->enrolments()) {
    absl::StatusOr<Enrolment> read = ReadEnrolment(enrolment);
    if (!read.ok() || !contents.enrolments.emplace(enrolment.invitation(), *std::move(read)).second) return Damaged();
  }
  return contents;
}

}  // namespace parley::device
