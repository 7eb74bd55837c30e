#include "clients/agent/hindrance.h"

#include <algorithm>
#include <cstddef>
#include <optional>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/utf8.h"

namespace parley::agent {
namespace {

constexpr size_t kMaxDetailBytes = 4096;
constexpr size_t kMaxCodeBytes = 64;
// A hindrance that is back before that is the same one.
constexpr absl::Duration kGoneAfter = absl::Minutes(10);
// A clock that is set is to be noticed soon.
constexpr absl::Duration kMaxClockRecheck = absl::Seconds(20);

constexpr absl::string_view kClock[] = {"MANIFEST_EXPIRED", "DEADLINE_PASSED", "OPERATOR_TIME", "CHAIN_TIME"};

// The signed set, its signatures, or what was sent in its place.
constexpr absl::string_view kSet[] = {
    "MANIFEST_MALFORMED",
    "MANIFEST_SIGNATURE",
    "MANIFEST_TASK",
    "MANIFEST_TOO_LARGE",
    "MANIFEST_DIGEST",
    "MANIFEST_CONTRADICTORY",
    "REVISION_OLDER",
    "REVISION_CHANGED",
    "OPERATOR_SIGNATURE_MISSING",
    "OPERATOR_MALFORMED",
    "OPERATOR_UNKNOWN",
    "OPERATOR_SIGNATURE",
    "OPERATOR_REVOKED",
    "OPERATOR_ROLE",
    "OPERATOR_CHAIN",
    "NO_CHAIN",
    "FORCED",
    "FILE_DIGEST",
    "TRANSFER_MALFORMED",
};

// A chunk, path or certificate that is not what it should be, each with several reasons of its own.
constexpr absl::string_view kSetPrefixes[] = {"CHUNK_", "PATH_", "CHAIN_", "FILES_", "PAYLOAD_"};

// What stays as it is until somebody changes this machine.
constexpr absl::string_view kPerson[] = {
    "TARGET_MOUNT",     "TARGET_NOT_FOLDER", "TARGET_PARENT",   "TARGET_PERMISSION", "TARGET_ROOT",
    "TARGET_IMMUTABLE", "TARGET_TOO_LARGE",  "TARGET_CONFLICT", "TARGET_HARD_LINK",  "TARGET_COPY",
    "FILE_PERMISSION",  "DISK_READ_ONLY",    "STATE_DAMAGED",   "STATE_CONFLICT",    "STATE_UNUSABLE",
};

// Bytes of the character that begins there, 0 when none does that is to be shown.
size_t CharacterBytes(absl::string_view text) {
  const std::optional<CodePoint> point = FirstCodePoint(text);
  if (!point.has_value()) return 0;
  return point->value >= 0x20 || text[0] == '\n' || text[0] == '\t' ? point->bytes : 0;
}

}  // namespace

Blame BlameOf(const absl::Status& status) {
  const std::string reason = Reason(status);
  // It says that two clocks differ, and one of them is this machine's.
  if (reason == "CHAIN_TIME") return Blame::kMoment;
  if (absl::c_linear_search(kSet, reason)) return Blame::kSet;
  for (const absl::string_view prefix : kSetPrefixes) {
    if (absl::StartsWith(reason, prefix)) return Blame::kSet;
  }
  return absl::c_linear_search(kPerson, reason) ? Blame::kPerson : Blame::kMoment;
}

std::string ReasonCode(const absl::Status& status) {
  const std::string reason = Reason(status);
  return reason.empty() ? "failed" : absl::AsciiStrToLower(reason).substr(0, kMaxCodeBytes);
}

std::string StateCode(task::v1::Participant::State state) {
  return absl::AsciiStrToLower(task::v1::Participant::State_Name(state).substr(sizeof("STATE_") - 1));
}

std::string Detail(absl::string_view text) {
  if (text.size() > kMaxDetailBytes) text.remove_prefix(text.size() - kMaxDetailBytes);
  std::string detail;
  while (!text.empty()) {
    const size_t length = CharacterBytes(text);
    absl::StrAppend(&detail, length > 0 ? text.substr(0, length) : "?");
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return detail;
}

HindranceWatch::HindranceWatch(const Options& options, absl::Duration (*now)())
    : limit_(options.hindrance_timeout), now_(now), backoff_(options.min_recheck, options.max_recheck) {}

bool HindranceWatch::Begin(const absl::Status& why) {
  const absl::Duration now = now_();
  if (!active() && now - end_ >= kGoneAfter) {
    kinds_.clear();
    begin_ = now;
    backoff_.Reset();
  }
  const std::string kind = Reason(why);
  const auto known = kinds_.find(kind);
  const bool news = known == kinds_.end() || now - known->second >= kGoneAfter;
  kinds_[kind] = now;
  why_ = why;
  const absl::Duration pause = backoff_.Next();
  next_check_ = now + (absl::c_linear_search(kClock, kind) ? std::min(pause, kMaxClockRecheck) : pause);
  return news;
}

void HindranceWatch::End() {
  if (active()) end_ = now_();
  why_ = absl::OkStatus();
}

void HindranceWatch::Reset() {
  why_ = absl::OkStatus();
  end_ = -absl::InfiniteDuration();
}

absl::Duration HindranceWatch::left() const {
  if (!active()) return absl::InfiniteDuration();
  return std::max(absl::ZeroDuration(), next_check_ - now_());
}

bool HindranceWatch::lasts_too_long() const {
  if (!active()) return false;
  return BlameOf(why_) == Blame::kPerson || now_() - begin_ >= limit_;
}

task::v1::Hindrance HindranceWatch::ToProto() const {
  task::v1::Hindrance hindrance;
  hindrance.set_code(ReasonCode(why_));
  hindrance.set_detail(Detail(why_.message()));
  return hindrance;
}

}  // namespace parley::agent
