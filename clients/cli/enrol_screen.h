// What two people at two terminals see of an enrolment: what to say, what to pick, and what it means.
#ifndef PARLEY_CLIENTS_CLI_ENROL_SCREEN_H_
#define PARLEY_CLIENTS_CLI_ENROL_SCREEN_H_

#include <optional>
#include <string>
#include <vector>

#include "clients/cli/answers.h"
#include "clients/cli/command.h"
#include "clients/cli/spinner.h"
#include "clients/enrol/person.h"

namespace parley::cli {

class EnrolScreen final : public enrol::Person {
 public:
  struct Options {
    bool json = false;
    // The person at the other side, as this one calls them: "bob", "the inviter".
    std::string other;
    // Reads their code before hearing the other's: the claimer.
    bool reads_first = false;
    int cancel_fd = -1;
  };
  explicit EnrolScreen(Options options) : options_(std::move(options)), answers_(options_.cancel_fd) {}

  // A question with yes or no; no is the answer to all but "y" and "yes".
  absl::StatusOr<bool> Ask(const std::string& question);

  void OnPresence(enrol::Presence presence) override;
  void OnDisconnected(const absl::Status& why, absl::Time give_up_at) override;
  void OnAttempt(uint32_t attempt) override;
  void OnReadAloud(const Secret& code) override;
  absl::StatusOr<std::optional<size_t>> Choose(const std::vector<Secret>& choices,
                                               const enrol::Meanwhile& meanwhile) override;
  void OnConfirmed() override;
  absl::StatusOr<bool> OnAttemptEnded(const enrol::AttemptEnd& end) override;

 private:
  void ShowChoices(const std::vector<Secret>& choices);

  const Options options_;
  Answers answers_;
  Spinner spinner_;
  std::optional<enrol::Presence> shown_;
  bool disconnected_ = false;
};

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_ENROL_SCREEN_H_
