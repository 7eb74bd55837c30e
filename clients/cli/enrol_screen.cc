#include "clients/cli/enrol_screen.h"

#include <stdio.h>

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "clients/cli/format.h"
#include "clients/cli/large_code.h"
#include "clients/cli/output.h"
#include "clients/cli/terminal.h"
#include "lib/base/error.h"
#include "lib/sas/attempts.h"

namespace parley::cli {
namespace {

using enrol::Presence;

void PrintSecret(absl::string_view before, const Secret& text, absl::string_view after) {
  fwrite(before.data(), 1, before.size(), stdout);
  const absl::string_view bytes = text.Expose();
  fwrite(bytes.data(), 1, bytes.size(), stdout);
  PrintLine(after);
}

std::string JsonList(const std::vector<Secret>& codes) {
  std::string list = "[";
  for (const Secret& code : codes) absl::StrAppend(&list, list.size() == 1 ? "\"" : ",\"", code.Expose(), "\"");
  return list + "]";
}

// 1 to 4 by their number, 0 for none of these; nothing for any other text.
std::optional<std::optional<size_t>> ReadChoice(absl::string_view answer, size_t choices) {
  uint32_t number = 0;
  if (absl::AsciiStrToLower(answer) == "none") return std::optional<size_t>();
  if (!absl::SimpleAtoi(answer, &number) || number > choices) return std::nullopt;
  return number == 0 ? std::optional<size_t>() : std::optional<size_t>(number - 1);
}

void Tell(const JsonObject& event) { event.Print(); }

absl::string_view PresenceName(Presence presence) {
  if (presence == Presence::kWaiting) return "waiting";
  return presence == Presence::kPresent ? "present" : "away";
}

}  // namespace

absl::StatusOr<bool> EnrolScreen::Ask(const std::string& question) {
  spinner_.Stop();
  if (options_.json) {
    JsonEvent("question").Text("question", question).Print();
  } else {
    printf("  %s [y/N] ", question.c_str());
    fflush(stdout);
  }
  return answers_.NextIsYes();
}

void EnrolScreen::OnPresence(Presence presence) {
  if (shown_ == presence && !disconnected_) return;
  shown_ = presence;
  disconnected_ = false;
  if (options_.json) return Tell(JsonEvent("presence").Text("presence", PresenceName(presence)));
  spinner_.Stop();
  if (presence == Presence::kWaiting) {
    spinner_.Start(absl::StrCat("waiting for ", options_.other, " to come (Ctrl-C stops)"));
  } else if (presence == Presence::kAway) {
    PrintLine("  ", options_.other, "'s connection broke; there are two minutes for it to come back");
  }
}

void EnrolScreen::OnDisconnected(const absl::Status& why, absl::Time give_up_at) {
  if (options_.json) return Tell(JsonEvent("disconnected").Text("reason", Reason(why)).Text("message", why.message()));
  if (std::exchange(disconnected_, true)) return;
  spinner_.Stop();
  PrintLine("  ", Printable(why.message()));
  spinner_.Start(absl::StrCat("trying again until ", TimeText(give_up_at)));
}

void EnrolScreen::OnAttempt(uint32_t attempt) {
  if (options_.json) return Tell(JsonEvent("attempt").Number("attempt", attempt));
  spinner_.Stop();
  PrintDone(options_.other, " is here", attempt == 1 ? "" : "; attempt ", attempt == 1 ? "" : absl::StrCat(attempt));
}

void EnrolScreen::OnReadAloud(const Secret& code) {
  if (options_.json)
    return Tell(JsonEvent("readAloud").Text("code", code.Expose()).Text("spelled", SpelledCode(code).Expose()));
  spinner_.Stop();
  PrintLine("\n  Read this to ", options_.other, " on the phone:\n");
  for (const Secret& line : LargeCode(code)) PrintSecret("      ", line, "");
  PrintSecret("\n      code: ", SpacedCode(code), "");
  PrintSecret("      ", SpelledCode(code), "\n");
  if (!options_.reads_first) spinner_.Start(absl::StrCat("waiting until ", options_.other, " has picked it"));
}

void EnrolScreen::ShowChoices(const std::vector<Secret>& choices) {
  if (options_.json) return Tell(JsonEvent("choose").Raw("choices", JsonList(choices)));
  PrintLine("  ", options_.reads_first ? "Then you hear a code from " : "You hear a code from ", options_.other,
            ". Which of these is it?\n");
  for (size_t i = 0; i < choices.size(); ++i) {
    PrintSecret(absl::StrCat("      ", i + 1, ")  "), SpacedCode(choices[i]), "");
    PrintSecret("             ", SpelledCode(choices[i]), "");
  }
  PrintLine(
      "      0)  none of these: somebody may stand between you. Nobody is let in, the attempt\n"
      "          ends for both of you and is counted; after ",
      sas::Attempts::kMaxSuspected, " the invitation is locked.\n");
  printf("  Number: ");
  fflush(stdout);
}

absl::StatusOr<std::optional<size_t>> EnrolScreen::Choose(const std::vector<Secret>& choices,
                                                          const enrol::Meanwhile& meanwhile) {
  spinner_.Stop();
  ShowChoices(choices);
  while (true) {
    ASSIGN_OR_RETURN(const std::optional<std::string> answer, answers_.Next(meanwhile.fd, meanwhile.handle));
    if (!answer.has_value()) {
      if (!options_.json) PrintLine("");
      return std::optional<size_t>();
    }
    const std::optional<std::optional<size_t>> choice = ReadChoice(*answer, choices.size());
    if (choice.has_value()) {
      if (!options_.json) spinner_.Start(absl::StrCat("telling ", options_.other, "'s device"));
      return *choice;
    }
    if (options_.json) {
      JsonEvent("notAChoice").Print();
    } else {
      printf("  A number from 1 to %zu, or 0 for none of these: ", choices.size());
      fflush(stdout);
    }
  }
}

void EnrolScreen::OnConfirmed() {
  if (options_.json) return Tell(JsonEvent("confirmed"));
  spinner_.Stop();
  PrintDone("confirmed  both codes are right: nobody stands in between");
  spinner_.Start("exchanging keys and certificates");
}

absl::StatusOr<bool> EnrolScreen::OnAttemptEnded(const enrol::AttemptEnd& end) {
  shown_.reset();
  if (options_.json) {
    JsonEvent("attemptEnded")
        .Number("attempt", end.attempt)
        .Text("reason", Reason(end.why))
        .Text("message", end.why.message())
        .Bool("suspected", end.suspected)
        .Number("suspectedAttempts", end.suspected_attempts)
        .Bool("mayGoOn", end.may_go_on)
        .Print();
  } else {
    spinner_.Stop();
    PrintLine("  ", Red("✘"), " attempt ", end.attempt, " ended: ", Printable(end.why.message()));
    if (end.suspected) {
      PrintLine(
          "    Nobody was let in. But this may have been an attack: somebody between you may have\n"
          "    tried to take a place, and has one try each time. This was number ",
          end.suspected_attempts, " of ", sas::Attempts::kMaxSuspected,
          "; then the\n    invitation is locked. Tell each other what you saw before you go on.");
    }
  }
  if (!end.may_go_on) return false;
  if (!end.person_decides) return true;
  return Ask("Try once more?");
}

}  // namespace parley::cli
