#include "lib/trust/operator_signature.h"

#include "absl/strings/str_cat.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/crypto/hash.h"
#include "lib/trust/form.h"

namespace parley::trust {
namespace {

using task::v1::OperatorSignature;

constexpr absl::string_view kContext("parley operator v1\0", 19);

absl::Status Refuse(absl::StatusCode code, absl::string_view reason, absl::string_view sentence) {
  return Error(code, reason, "the manifest ", sentence);
}

std::string SignedBytes(absl::string_view manifest, const OperatorSignature& signature) {
  return absl::StrCat(kContext, signature.device(), BigEndian(static_cast<uint64_t>(signature.time().seconds()), 8),
                      BigEndian(static_cast<uint64_t>(signature.time().nanos()), 4),
                      BigEndian(static_cast<uint64_t>(signature.chain_sequence()), 8), signature.chain_hash(),
                      crypto::Sha256(manifest));
}

}  // namespace

OperatorSignature SignAsOperator(absl::string_view manifest, absl::string_view device, const crypto::SigningKey& key,
                                 const Head& seen, absl::Time now) {
  OperatorSignature signature;
  signature.set_device(std::string(device));
  *signature.mutable_time() = ToProto(now);
  signature.set_chain_sequence(seen.sequence);
  signature.set_chain_hash(seen.hash);
  signature.set_signature(key.Sign(SignedBytes(manifest, signature)));
  return signature;
}

absl::Status CheckForm(const OperatorSignature& signature) {
  const bool good = signature.device().size() == kIdBytes && signature.has_time() && IsTime(signature.time()) &&
                    signature.chain_sequence() >= 1 && signature.chain_hash().size() == kHashBytes &&
                    signature.signature().size() == crypto::kSignatureBytes;
  if (good) return absl::OkStatus();
  return Refuse(absl::StatusCode::kInvalidArgument, "OPERATOR_MALFORMED", "has an operator's signature that is none");
}

absl::StatusOr<Operator> VerifyOperator(const task::v1::SignedManifest& manifest, const Chain& chain, absl::Time now) {
  if (!manifest.has_operator_signature()) {
    return Refuse(absl::StatusCode::kFailedPrecondition, "OPERATOR_SIGNATURE_MISSING",
                  "is not signed by an operator's device; create the task with a device file, as `parley claim` or "
                  "`parley org init` made it");
  }
  const OperatorSignature& signature = manifest.operator_signature();
  RETURN_IF_ERROR(CheckForm(signature));
  const Device* const device = chain.FindDevice(signature.device());
  if (device == nullptr) {
    return Refuse(absl::StatusCode::kPermissionDenied, "OPERATOR_UNKNOWN",
                  "is signed by a device that is not in the organisation's chain of trust");
  }
  if (!crypto::VerifySignature(device->verification_key, SignedBytes(manifest.manifest(), signature),
                               signature.signature())) {
    return Refuse(absl::StatusCode::kDataLoss, "OPERATOR_SIGNATURE",
                  "is not signed by the operator's device that it names; somebody tampered with it");
  }
  const User& user = *chain.FindUser(device->user);
  if (!chain.IsLive(device->id)) {
    return Refuse(absl::StatusCode::kPermissionDenied, "OPERATOR_REVOKED",
                  absl::StrCat("is signed by ", user.name, " on ", device->label, ", who or which was revoked"));
  }
  if (user.role != access::v1::ROLE_OPERATOR && user.role != access::v1::ROLE_ADMIN) {
    return Refuse(absl::StatusCode::kPermissionDenied, "OPERATOR_ROLE",
                  absl::StrCat("is signed by ", user.name, ", who is neither an operator nor an admin"));
  }
  if (ToTime(signature.time()) > now + kMaxClockAhead) {
    return Refuse(absl::StatusCode::kFailedPrecondition, "OPERATOR_TIME",
                  "is signed more than 5 minutes ahead of this machine's clock; check the clocks");
  }
  if (chain.HashAt(signature.chain_sequence()) != signature.chain_hash()) {
    return Refuse(absl::StatusCode::kDataLoss, "OPERATOR_CHAIN",
                  absl::StrCat("was signed when the chain of trust had a certificate ", signature.chain_sequence(),
                               " that it does not have here; somebody cut it off or replaced it: ask your admin"));
  }
  return Operator{user.name, device->label};
}

}  // namespace parley::trust
