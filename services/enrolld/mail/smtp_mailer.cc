#include "services/enrolld/mail/smtp_mailer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/fd.h"
#include "lib/base/file.h"
#include "services/enrolld/domain/validation.h"
#include "services/enrolld/mail/mail_job.pb.h"

namespace parley::enrolld {
namespace {

constexpr char kProgram[] = "enrolld_mail";
// The program gives up by itself after a minute.
constexpr int kPatienceMilliseconds = 75'000;
constexpr size_t kMaxAnswerBytes = 4096;

absl::Status NotTaken(absl::string_view why) {
  return Unavailable("MAIL_SERVER_UNAVAILABLE", "the mail server did not take it: ", why, "; it is tried again");
}

absl::StatusOr<std::string> FindProgram() {
  char self[PATH_MAX];
  const ssize_t size = readlink("/proc/self/exe", self, sizeof(self));
  const absl::string_view own(self, size > 0 ? static_cast<size_t>(size) : 0);
  const std::string path = absl::StrCat(own.substr(0, own.rfind('/') + 1), kProgram);
  if (::access(path.c_str(), X_OK) == 0) return path;
  return Error(absl::StatusCode::kNotFound, "PROGRAM_MISSING",
               absl::StrCat(path, " is missing, which sends e-mail; install it, or leave out --smtp-url"));
}

// Starts the program with both pipes; 0 when it could not be.
pid_t Start(const std::string& program, int input, int output) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  // A service blocks the signals that stop it; its child shall hear them.
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  std::string name = kProgram;
  std::array<char*, 2> arguments = {name.data(), nullptr};
  pid_t pid = 0;
  const int error = posix_spawn(&pid, program.c_str(), &actions, &attributes, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  return error == 0 ? pid : 0;
}

// Until the other end closes; what came by then.
std::string ReadAll(int fd) {
  std::string answer;
  char buffer[1024];
  pollfd wait = {fd, POLLIN, 0};
  while (answer.size() < kMaxAnswerBytes && poll(&wait, 1, kPatienceMilliseconds) > 0) {
    const ssize_t size = read(fd, buffer, sizeof(buffer));
    if (size <= 0) break;
    answer.append(buffer, static_cast<size_t>(size));
  }
  return answer;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SmtpMailer>> SmtpMailer::Create(Options options) {
  const bool implicit = absl::StartsWith(options.url, "smtps://");
  if (!implicit && !absl::StartsWith(options.url, "smtp://")) {
    return Error(absl::StatusCode::kInvalidArgument, "SMTP_URL",
                 "--smtp-url must be like smtp://mail.example:587 or smtps://mail.example:465");
  }
  RETURN_IF_ERROR(Annotate(ValidateEmail(options.from), "--smtp-from"));
  if (!options.user.empty() && !implicit && options.tls == Tls::kOff) {
    return Error(absl::StatusCode::kInvalidArgument, "SMTP_PASSWORD_IN_CLEAR",
                 "a login without TLS would show the password; leave out --smtp-tls off, or --smtp-user");
  }
  ASSIGN_OR_RETURN(std::string program, FindProgram());
  return std::unique_ptr<SmtpMailer>(new SmtpMailer(std::move(options), std::move(program)));
}

absl::Status SmtpMailer::Send(const std::string& to, const Secret& message) {
  MailJob job;
  job.set_url(options_.url);
  job.set_tls_required(options_.tls == Tls::kRequired);
  job.set_ca_file(options_.ca_file);
  job.set_user(options_.user);
  job.set_password(std::string(options_.password.Expose()));
  job.set_from(options_.from);
  job.set_to(to);
  job.set_message(std::string(message.Expose()));
  const Secret input = Secret::Take(job.SerializeAsString());
  WipeString(job.mutable_password());
  WipeString(job.mutable_message());

  int pipes[2][2] = {{-1, -1}, {-1, -1}};
  if (pipe2(pipes[0], O_CLOEXEC) != 0) return NotTaken(ErrnoText(errno));
  Fd child_input(pipes[0][0]);
  Fd to_child(pipes[0][1]);
  if (pipe2(pipes[1], O_CLOEXEC) != 0) return NotTaken(ErrnoText(errno));
  const Fd from_child(pipes[1][0]);
  Fd child_output(pipes[1][1]);
  const pid_t pid = Start(program_, child_input.get(), child_output.get());
  if (pid == 0) return NotTaken(absl::StrCat("cannot start ", program_));
  child_input = Fd();
  child_output = Fd();
  const bool written = WriteAll(to_child.get(), program_, input.Expose()).ok();
  to_child = Fd();
  MailOutcome outcome;
  const bool answered = written && outcome.ParseFromString(ReadAll(from_child.get()));
  // It has answered, or never will.
  kill(pid, SIGKILL);
  while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (answered && outcome.result() == MailOutcome::RESULT_TAKEN) return absl::OkStatus();
  if (answered && outcome.result() == MailOutcome::RESULT_REFUSED) {
    return Error(absl::StatusCode::kFailedPrecondition, "MAIL_REFUSED",
                 absl::StrCat("the mail server refused it: ", outcome.sentence(),
                              "; check the address, or carry the link yourself"));
  }
  return NotTaken(outcome.sentence().empty() ? "no answer" : outcome.sentence());
}

}  // namespace parley::enrolld
