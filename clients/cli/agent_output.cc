#include "clients/cli/agent_output.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "clients/cli/format.h"
#include "clients/cli/log_text.h"
#include "clients/cli/output.h"
#include "clients/cli/output_writer.h"
#include "clients/cli/terminal.h"
#include "grpc/support/log.h"
#include "lib/base/log.h"
#include "lib/base/log_sink.h"

namespace parley::cli {
namespace {

// How long a reader may take nothing at the end: one that is slow, and one after somebody wants the process to end.
constexpr absl::Duration kPatience = absl::Seconds(5);
constexpr absl::Duration kLastPatience = absl::Milliseconds(300);

std::atomic<agent::Cancellation*> signalled = nullptr;
std::atomic<bool> asked_to_stop = false;
OutputWriter* writer = nullptr;

void OnSignal(int) {
  asked_to_stop = true;
  if (agent::Cancellation* const cancellation = signalled.load(); cancellation != nullptr) cancellation->Cancel();
  // A second Ctrl-C ends the process at once; it wakes up with the old set or the new one all the same.
  for (const int number : {SIGINT, SIGQUIT}) signal(number, SIG_DFL);
}

std::string DroppedText(int64_t lines) {
  return absl::StrCat("  … ", Count(lines, "line"), " dropped here, because nobody read them");
}

std::string DroppedEvent(int64_t lines) { return JsonEvent("dropped").Number("lines", lines).Finish(); }

void LogFromGrpc(gpr_log_func_args* message) {
  LogWarning("gRPC reports trouble", {{"error", std::string(absl::StripAsciiWhitespace(message->message))}});
}

void PrintJsonLog(const LogRecord& record) { PrintErrorLine(absl::StripSuffix(record.line, "\n")); }
void PrintTextLog(const LogRecord& record) { PrintErrorLine(LogText(record)); }

}  // namespace

void PrintInBackground(const Globals& globals) {
  if (writer != nullptr) return;
  OutputWriter::Options options;
  options.note = globals.json() ? &DroppedEvent : &DroppedText;
  writer = new OutputWriter(std::move(options));
  SetBackgroundOutput(writer);
  SetLogSink(globals.json() ? &PrintJsonLog : &PrintTextLog);
  gpr_set_log_function(&LogFromGrpc);
}

int FinishOutput(int code) {
  if (writer == nullptr) {
    if (code != kSuccess || OutputError() == 0) return code;
    PrintErrorLine(absl::StrCat("parley: cannot write the output: ", strerror(OutputError())));
    return kFailure;
  }
  if (!writer->Finish([] { return asked_to_stop ? kLastPatience : kPatience; })) _exit(code);
  SetBackgroundOutput(nullptr);
  gpr_set_log_function(nullptr);
  SetLogSink(nullptr);
  delete std::exchange(writer, nullptr);
  return code;
}

CancelOnSignal::CancelOnSignal(OnHangup on_hangup) {
  signalled = &cancellation_;
  struct sigaction action = {}, hangup = {};
  action.sa_handler = &OnSignal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGQUIT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  // A terminal may stop whoever prints in the background (stty tostop).
  signal(SIGTTOU, SIG_IGN);
  sigaction(SIGHUP, nullptr, &hangup);
  if (hangup.sa_handler == SIG_IGN) return;
  if (on_hangup == OnHangup::kIgnore) action.sa_handler = SIG_IGN;
  sigaction(SIGHUP, &action, nullptr);
}

CancelOnSignal::~CancelOnSignal() { signalled = nullptr; }

}  // namespace parley::cli
