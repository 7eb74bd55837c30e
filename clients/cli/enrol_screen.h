// What one of two people at two terminals sees of an enrolment: what to say, what to pick, and what it means.
//
// Threads: one thread, which runs the party. Ask, Choose and OnAttemptEnded block until the person answers.
#ifndef PARLEY_CLIENTS_CLI_ENROL_SCREEN_H_
#define PARLEY_CLIENTS_CLI_ENROL_SCREEN_H_

#include <optional>
#include <string>
#include <vector>

#include "clients/cli/answers.h"
#include "clients/cli/spinner.h"
#include "clients/enrol/person.h"

namespace parley::cli {

class EnrolScreen final : public enrol::Person {
 public:
  struct Options {
    bool json = false;
    // How the screen calls the other person: "the newcomer", "the inviter".
    std::string other;
    // The person reads a code aloud before the other one does. The claimer does so.
    bool reads_first = false;
    // Becomes readable when the person wants to stop; -1 stands for never.
    int cancel_fd = -1;
  };
  explicit EnrolScreen(Options options) : options_(std::move(options)), answers_(options_.cancel_fd) {}

  // Asks a question. Returns whether the answer is "y" or "yes", or the errors of Answers::Next.
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
