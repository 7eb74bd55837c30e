#include "services/taskd/participants/key_maker.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/crypto/kdf.h"
#include "lib/keys/join_key.h"
#include "services/taskd/domain/names.h"
#include "services/taskd/store/keys.h"

namespace parley::taskd {
namespace {

absl::Status SealingKeyDiffers() {
  return FailedPrecondition(
      "SEALING_KEY_DIFFERS",
      "the sealing key is not the one that this store was begun with; give every replica the same "
      "one, which a backup has beside its data");
}

}  // namespace

KeyMaker::KeyMaker(const keys::Keyring* keyring, crypto::Aead aead, std::string public_address)
    : keyring_(keyring), aead_(std::move(aead)), public_address_(std::move(public_address)) {}

absl::StatusOr<KeyMaker> KeyMaker::Create(const keys::Keyring* keyring, const Secret& sealing_key,
                                          std::string public_address) {
  if (sealing_key.size() != crypto::kAeadKeyBytes) {
    return Error(absl::StatusCode::kInvalidArgument, "SEALING_KEY_MALFORMED", "the sealing key must have 32 bytes");
  }
  ASSIGN_OR_RETURN(crypto::Aead aead, crypto::Aead::Create(crypto::Hkdf(sealing_key, "parley taskd v1 signing seeds",
                                                                        crypto::kAeadKeyBytes)));
  return KeyMaker(keyring, std::move(aead), std::move(public_address));
}

absl::Status KeyMaker::CheckSealingKey(const TaskStore& store) const {
  ASSIGN_OR_RETURN(const std::optional<SealedSeed> check, store.FindSealCheck());
  if (check.has_value()) return Opens(kSealCheckKey, *check) ? absl::OkStatus() : SealingKeyDiffers();
  // A store of an earlier version has seeds and no check.
  ASSIGN_OR_RETURN(const auto seed, store.FindAnySeed());
  if (seed.has_value() && !Opens(seed->first, seed->second)) return SealingKeyDiffers();
  SealedSeed made;
  made.set_nonce(crypto::RandomBytes(crypto::kAeadNonceBytes));
  made.set_sealed(aead_.Seal(made.nonce(), "", kSealCheckKey));
  const std::string key(kSealCheckKey);
  const absl::Status stored =
      store.store()->Commit(store::Transaction().IfAbsent(key).Set(key, made.SerializeAsString())).status();
  // Another one was faster, with its key.
  return absl::IsAborted(stored) ? CheckSealingKey(store) : stored;
}

bool KeyMaker::Opens(absl::string_view name, const SealedSeed& seed) const {
  return seed.nonce().size() == crypto::kAeadNonceBytes && aead_.Open(seed.nonce(), seed.sealed(), name).ok();
}

void KeyMaker::FillNew(absl::Time not_after, ParticipantRecord* record) const {
  record->set_serial(crypto::RandomBytes(keys::kSerialBytes));
  record->set_epoch(keyring_->primary_epoch());
  *record->mutable_key_expire_time() = ToProto(absl::FromUnixSeconds(absl::ToUnixSeconds(not_after)));
}

JoinKeyRecord KeyMaker::NewJoinKey(absl::string_view task, absl::Time now, absl::Time not_after,
                                   const transport::KeyInfo& maker) const {
  not_after = std::min(not_after, maker.not_after);
  JoinKeyRecord record;
  record.set_serial(crypto::RandomBytes(keys::kSerialBytes));
  record.set_epoch(keyring_->primary_epoch());
  record.set_credential(HexDecode(maker.key_id).value_or(""));
  record.mutable_join_key()->set_name(JoinKeyName(task, HexEncode(record.serial())));
  *record.mutable_join_key()->mutable_create_time() = ToProto(now);
  *record.mutable_join_key()->mutable_expire_time() = ToProto(absl::FromUnixSeconds(absl::ToUnixSeconds(not_after)));
  return record;
}

absl::StatusOr<keys::Keyring::Minted> KeyMaker::Mint(const keys::Claims& claims, uint32_t epoch) const {
  absl::StatusOr<keys::Keyring::Minted> minted = keyring_->Mint(claims, epoch);
  if (!absl::IsNotFound(minted.status())) return minted;
  return Error(absl::StatusCode::kUnavailable, "EPOCH_RETIRED",
               "the root that this key was made under is retired; make another join key and join anew");
}

absl::StatusOr<keys::Keyring::Minted> KeyMaker::MintMember(absl::string_view task, absl::string_view tag,
                                                           const ParticipantRecord& record) const {
  return Mint({access::v1::ROLE_MEMBER, MemberSubject(task, tag), record.serial(), ToTime(record.key_expire_time())},
              record.epoch());
}

absl::StatusOr<Secret> KeyMaker::FormatJoinKey(absl::string_view task, absl::string_view verification_key,
                                               const JoinKeyRecord& record) const {
  keys::JoinKey key;
  key.not_after = ToTime(record.join_key().expire_time());
  ASSIGN_OR_RETURN(auto minted,
                   Mint({access::v1::ROLE_JOINER, std::string(task), record.serial(), key.not_after}, record.epoch()));
  key.address = public_address_;
  key.task = std::string(task);
  key.identity = std::move(minted.identity);
  key.secret = std::move(minted.secret);
  key.verification_key = std::string(verification_key);
  return keys::FormatJoinKey(key);
}

SealedSeed KeyMaker::Seal(absl::string_view task, const crypto::SigningKey& key) const {
  SealedSeed seed;
  seed.set_nonce(crypto::RandomBytes(crypto::kAeadNonceBytes));
  seed.set_sealed(aead_.Seal(seed.nonce(), key.seed().Expose(), task));
  return seed;
}

absl::StatusOr<crypto::SigningKey> KeyMaker::Open(absl::string_view task, const SealedSeed& seed) const {
  absl::StatusOr<Secret> opened = seed.nonce().size() == crypto::kAeadNonceBytes
                                      ? aead_.Open(seed.nonce(), seed.sealed(), task)
                                      : absl::StatusOr<Secret>(absl::InvalidArgumentError("nonce"));
  if (!opened.ok()) {
    return Error(absl::StatusCode::kDataLoss, "SEED_UNREADABLE",
                 absl::StrCat("the signing key of ", TaskName(task),
                              " does not open; restore seal.key beside the data it belongs to"));
  }
  return crypto::SigningKey::FromSeed(*opened);
}

}  // namespace parley::taskd
