// The saved state of a confirmed exchange (docs/protocol/sas.md, "Saved state").

#include "absl/strings/str_cat.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/crypto/hash.h"
#include "lib/crypto/kdf.h"
#include "lib/sas/exchange.h"
#include "lib/sas/reason.h"

namespace parley::sas {
namespace {

constexpr absl::string_view kMagic = "prs1";
constexpr size_t kHashBytes = crypto::kSha256Bytes;
constexpr size_t kSealKeyBytes = 32;

// The moments at which a confirmed side can be.
bool IsMoment(Role role, Next next, int step) {
  if (next == Next::kDone) return step == kLastStep;
  if (next == Next::kPayload) return step >= 6 && SpeaksAt(role, step);
  return next == Next::kMessage && step >= 6 && SpeaksAt(Other(role), step);
}

absl::Status Damaged() {
  return InvalidArgument(kBadState, "the saved enrolment is damaged or of another version; start a new attempt");
}

}  // namespace

absl::StatusOr<Secret> Exchange::SaveState() const {
  if (!confirmed_ || next_ == Next::kEnded) {
    return FailedPrecondition(kNotNow, "an enrolment can be saved only after both codes were confirmed");
  }
  const auto key_bytes = [](const Secret& key) { return key.empty() ? Secret(kSealKeyBytes) : key.Clone(); };
  const Secret seal_greeter = key_bytes(keys_.seal_greeter);
  const Secret seal_claimer = key_bytes(keys_.seal_claimer);
  std::string received;
  for (const std::string& hash : received_) received += hash.empty() ? std::string(kHashBytes, '\0') : hash;
  const std::string moment = {static_cast<char>(role_), static_cast<char>(next_), static_cast<char>(step_),
                              static_cast<char>(context_.kind)};
  return Secret::Take(
      absl::StrCat(kMagic, moment, BigEndian(context_.attempt, 4), BigEndian(context_.organisation.size(), 1),
                   context_.organisation, BigEndian(context_.invitation.size(), 1), context_.invitation,
                   transcript_.hash(), seal_greeter.Expose(), seal_claimer.Expose(), received,
                   BigEndian(last_sent_.size(), 4), last_sent_, BigEndian(payload_.size(), 4), payload_.Expose()));
}

absl::StatusOr<Exchange> Exchange::RestoreState(const Secret& state) {
  ByteReader reader(state.Expose());
  if (reader.Take(kMagic.size()) != kMagic) return Damaged();
  const Role role = static_cast<Role>(reader.TakeNumber(1));
  const Next next = static_cast<Next>(reader.TakeNumber(1));
  const int step = static_cast<int>(reader.TakeNumber(1));
  Context context;
  context.kind = static_cast<Kind>(reader.TakeNumber(1));
  context.attempt = static_cast<uint32_t>(reader.TakeNumber(4));
  context.organisation = std::string(reader.TakeSized(1));
  context.invitation = std::string(reader.TakeSized(1));
  if ((role != Role::kGreeter && role != Role::kClaimer) || !IsMoment(role, next, step)) return Damaged();
  if (!reader.good() || !CheckContext(context).ok()) return Damaged();

  Exchange exchange(role, context, Settings{kBitsPerLetter, crypto::RandomSecret});
  exchange.next_ = next;
  exchange.step_ = step;
  exchange.nonce_out_ = true;
  exchange.confirmed_ = true;
  exchange.transcript_ = Transcript::FromHash(reader.Take(kHashBytes));
  exchange.keys_.seal_greeter = Secret::CopyOf(reader.Take(kSealKeyBytes));
  exchange.keys_.seal_claimer = Secret::CopyOf(reader.Take(kSealKeyBytes));
  if (next == Next::kDone) exchange.keys_ = Keys();
  for (int i = 0; i <= kLastStep; ++i) {
    const absl::string_view hash = reader.Take(kHashBytes);
    const bool came = SpeaksAt(Other(role), i) && (i < step || next == Next::kDone);
    if (came) exchange.received_[i] = std::string(hash);
  }
  exchange.last_sent_ = std::string(reader.TakeSized(4));
  exchange.payload_ = Secret::CopyOf(reader.TakeSized(4));
  if (!reader.finished()) return Damaged();
  return exchange;
}

}  // namespace parley::sas
