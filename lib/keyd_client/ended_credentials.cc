#include "lib/keyd_client/ended_credentials.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/strip.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/keys/identity.h"

namespace parley::keyd_client {
namespace {

constexpr absl::Duration kAnswerWithin = absl::Seconds(5);
constexpr absl::Duration kCatchUpWithin = absl::Minutes(1);
constexpr absl::Duration kPause = absl::Seconds(1);
// Clocks differ.
constexpr absl::Duration kGrace = absl::Hours(1);
constexpr int kMaxNames = 1000;
constexpr int kMostCallers = 4;

absl::StatusOr<std::string> SerialOf(absl::string_view name) {
  const std::optional<std::string> serial =
      absl::ConsumePrefix(&name, "credentials/") ? HexDecode(name) : std::optional<std::string>();
  if (serial.has_value() && serial->size() == keys::kSerialBytes) return HexEncode(*serial);
  return InvalidArgument("CREDENTIAL_NAME",
                         "a credential's name is credentials/ and 32 hexadecimal digits; `parley key list` shows them");
}

}  // namespace

absl::Duration EndedCredentials::Credential::NoteLifetime(absl::Time now) const {
  return std::max(not_after - now, absl::ZeroDuration()) + kGrace;
}

EndedCredentials::EndedCredentials(Clock* clock, End end)
    : clock_(clock), end_(std::move(end)), thread_([this] { Run(); }) {}

EndedCredentials::~EndedCredentials() { Stop(); }

void EndedCredentials::OnRevoked(const std::string& serial, absl::Time not_after) {
  const std::string hex = HexEncode(serial);
  // What depends on the credential has then ended by itself.
  const bool over = not_after + kGrace < clock_->Now();
  MutexLock lock(&mutex_);
  if (stopping_ || !known_.try_emplace(hex, Known{not_after, over}).second) return;
  if (!over) waiting_.push_back({hex, not_after});
  Forget();
  moved_.NotifyAll();
}

void EndedCredentials::Forget() {
  if (known_.size() < forget_at_) return;
  const absl::Time now = clock_->Now();
  std::erase_if(known_,
                [now](const auto& known) { return known.second.done && known.second.not_after + kGrace < now; });
  forget_at_ = std::max<size_t>(1024, 2 * known_.size());
}

void EndedCredentials::Stop() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    moved_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

void EndedCredentials::Run() {
  MutexLock lock(&mutex_);
  while (!stopping_) {
    if (waiting_.empty()) {
      moved_.Wait(&mutex_);
      continue;
    }
    const Credential next = waiting_.front();
    mutex_.Unlock();
    const absl::Status status = end_(next);
    mutex_.Lock();
    if (!status.ok()) {
      LogError("what depends on a revoked credential has not ended yet",
               {{"credential", next.serial}, {"error", std::string(status.message())}});
      if (!stopping_) moved_.WaitFor(&mutex_, kPause);
      continue;
    }
    waiting_.pop_front();
    known_[next.serial] = {next.not_after, true};
    moved_.NotifyAll();
  }
}

absl::Status EndedCredentials::CatchUp() {
  const absl::Time until = Clock::System()->Now() + kCatchUpWithin;
  MutexLock lock(&mutex_);
  while (!waiting_.empty() && !stopping_) {
    if (!moved_.WaitUntil(&mutex_, until)) {
      return Unavailable("REVOCATIONS_PENDING", "what depends on revoked credentials has not ended; the log says why");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> EndedCredentials::Await(
    const google::protobuf::RepeatedPtrField<std::string>& names) {
  if (names.empty() || names.size() > kMaxNames) {
    return InvalidArgument("CREDENTIALS", "name 1 to 1000 credentials");
  }
  std::vector<std::string> serials;
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(serials.emplace_back(), SerialOf(name));
  }
  const absl::Time until = Clock::System()->Now() + kAnswerWithin;
  const auto all_done = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return std::all_of(serials.begin(), serials.end(),
                       [&](const std::string& serial) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return IsDone(serial); });
  };
  MutexLock lock(&mutex_);
  if (all_done()) return serials;
  if (callers_ >= kMostCallers) {
    return Error(absl::StatusCode::kResourceExhausted, "TOO_MANY_WAIT",
                 "others wait for what ends with a credential already; ask again in a few seconds");
  }
  ++callers_;
  while (!all_done() && !stopping_ && moved_.WaitUntil(&mutex_, until)) {
  }
  --callers_;
  if (all_done()) return serials;
  return Unavailable(
      "REVOCATION_UNKNOWN",
      "this service has not heard from keyd that the credential was revoked; when it does, it ends what depends on "
      "it");
}

bool EndedCredentials::IsDone(const std::string& serial) const {
  const auto known = known_.find(serial);
  return known != known_.end() && known->second.done;
}

}  // namespace parley::keyd_client
