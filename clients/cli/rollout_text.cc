#include "clients/cli/rollout_text.h"

#include <map>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "clients/cli/command.h"
#include "clients/cli/format.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"

namespace parley::cli {
namespace {

using task::v1::Gate;
using task::v1::Rollout;
using task::v1::Wave;

// Parses "95%" or, for an option that takes only shares, "95".
absl::StatusOr<int> ParseShare(absl::string_view option, absl::string_view text) {
  int share = 0;
  if (absl::SimpleAtoi(absl::StripSuffix(text, "%"), &share) && share >= 0 && share <= 100) return share;
  return UsageError(option, " must be a share such as 95%, and not \"", text, "\"");
}

absl::Status ParseFailures(absl::string_view text, Gate* gate) {
  if (absl::EndsWith(text, "%")) {
    ASSIGN_OR_RETURN(const int share, ParseShare("--wave-failures", text));
    gate->set_max_failure_percent(share);
    return absl::OkStatus();
  }
  int number = 0;
  if (!absl::SimpleAtoi(text, &number) || number < 0) {
    return UsageError("--wave-failures must be a number of clients, or a share such as 5%, and not \"", text, "\"");
  }
  gate->set_max_failures(number);
  return absl::OkStatus();
}

absl::Status ParseGate(const RolloutFlags& flags, Gate* gate) {
  if (!flags.success.empty()) {
    ASSIGN_OR_RETURN(const int share, ParseShare("--wave-success", flags.success));
    if (share == 0) return UsageError("--wave-success must be at least 1%");
    gate->set_min_success_percent(share);
  }
  if (!flags.failures.empty()) RETURN_IF_ERROR(ParseFailures(flags.failures, gate));
  if (!flags.soak.empty()) {
    ASSIGN_OR_RETURN(const absl::Duration soak, ParseDuration("--soak", flags.soak));
    *gate->mutable_soak() = ToProto(soak);
  }
  if (flags.approve || flags.approve_by > 0) gate->set_approvals(flags.approve ? 1 : flags.approve_by);
  gate->set_author_may_approve(flags.approve);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Wave> ParseWave(absl::string_view text) {
  Wave wave;
  int number = 0;
  if (text == "all") {
    wave.set_percent(100);
  } else if (absl::ConsumePrefix(&text, "@")) {
    for (const absl::string_view name : absl::StrSplit(text, '+')) wave.mutable_names()->add_names(std::string(name));
  } else if (absl::StrContains(text, '=')) {
    const std::vector<std::string> labels = absl::StrSplit(text, '+');
    ASSIGN_OR_RETURN(const auto pairs, ParsePairs("--waves", labels));
    for (const auto& [key, value] : pairs) (*wave.mutable_labels()->mutable_labels())[key] = value;
  } else if (absl::EndsWith(text, "%") && absl::SimpleAtoi(absl::StripSuffix(text, "%"), &number)) {
    wave.set_percent(number);
  } else if (absl::SimpleAtoi(text, &number)) {
    wave.set_count(number);
  } else {
    return UsageError("--waves has \"", text,
                      "\"; a wave is a number of clients (5), a share (10%), a label (canary=true), names (@web-1) or "
                      "\"all\"");
  }
  return wave;
}

std::string WaveText(const Wave& wave) {
  switch (wave.clients_case()) {
    case Wave::kCount:
      return absl::StrCat(wave.count());
    case Wave::kPercent:
      return wave.percent() == 100 ? "all" : absl::StrCat(wave.percent(), "%");
    case Wave::kLabels: {
      const std::map<std::string, std::string> sorted(wave.labels().labels().begin(), wave.labels().labels().end());
      return absl::StrJoin(sorted, "+", absl::PairFormatter("="));
    }
    case Wave::kNames:
      return absl::StrCat("@", absl::StrJoin(wave.names().names(), "+"));
    case Wave::CLIENTS_NOT_SET:
      break;
  }
  return "?";
}

std::string WavesText(const Rollout& rollout) {
  return absl::StrJoin(rollout.waves(), ", ",
                       [](std::string* out, const Wave& wave) { absl::StrAppend(out, WaveText(wave)); });
}

std::string GateText(const Gate& gate) {
  std::vector<std::string> parts = {absl::StrCat(gate.min_success_percent(), " % have it")};
  if (gate.has_max_failures()) parts.push_back(absl::StrCat("at most ", Count(gate.max_failures(), "failure")));
  if (gate.has_max_failure_percent()) parts.push_back(absl::StrCat("at most ", gate.max_failure_percent(), " % fail"));
  if (gate.has_soak()) parts.push_back(absl::StrCat("for ", DurationText(ToDuration(gate.soak()))));
  if (gate.approvals() > 0) {
    parts.push_back(absl::StrCat(Count(gate.approvals(), "approval"), gate.author_may_approve() ? "" : " of others"));
  }
  return absl::StrJoin(parts, ", ");
}

absl::StatusOr<std::optional<Rollout>> ParseRollout(const RolloutFlags& flags) {
  if (flags.waves.empty()) return std::nullopt;
  Rollout rollout;
  for (const absl::string_view text : absl::StrSplit(flags.waves, ',')) {
    ASSIGN_OR_RETURN(*rollout.add_waves(), ParseWave(text));
  }
  RETURN_IF_ERROR(ParseGate(flags, rollout.mutable_gate()));
  rollout.set_on_failure(flags.on_failure == "pause" ? Rollout::ON_FAILURE_PAUSE : Rollout::ON_FAILURE_HALT);
  return rollout;
}

}  // namespace parley::cli
