#include "clients/cli/agent_printer.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "clients/cli/agent_output.h"
#include "clients/cli/format.h"
#include "clients/cli/output.h"
#include "clients/cli/task_name.h"
#include "clients/cli/task_text.h"
#include "clients/cli/terminal.h"
#include "lib/base/error.h"
#include "lib/task/states.h"

namespace parley::cli {
namespace {

namespace event = agent::event;
using task::v1::Participant;
using task::v1::Task;

constexpr size_t kBarCells = 12;
constexpr size_t kStepWidth = 14;

std::string Bar(int64_t bytes, int64_t total) {
  // Nothing to fetch is all of it.
  return total <= 0 ? BarText(1, 1, kBarCells) : BarText(bytes, total, kBarCells);
}

std::string SoonText(absl::Time time) {
  return time == absl::InfiniteFuture() ? "somebody acts" : ShortTime(time, absl::Now());
}

// To the second: the next look may be near.
std::string SecondText(absl::Time time) {
  const absl::TimeZone utc = absl::UTCTimeZone();
  const bool today = absl::ToCivilDay(time, utc) == absl::ToCivilDay(absl::Now(), utc);
  return today ? absl::FormatTime("%H:%M:%S UTC", time, utc) : SoonText(time);
}

// "check_failed" -> "check failed".
std::string WordsOf(std::string code) {
  std::replace(code.begin(), code.end(), '_', ' ');
  return code;
}

// Output of a hook, indented below the line that it explains; the last lines of it.
void PrintDetail(const std::string& detail) {
  constexpr size_t kMostBytes = 1200;
  std::string text = Printable(detail.size() > kMostBytes ? detail.substr(detail.size() - kMostBytes) : detail);
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const std::string line = text.substr(0, end);
    if (!line.empty()) PrintLine(Dim("      " + line));
    text = end == std::string::npos ? "" : text.substr(end + 1);
  }
}

class TextPrinter final : public agent::Observer {
 public:
  explicit TextPrinter(bool one_task) : one_task_(one_task) {}

  void OnEvent(const agent::Event& event) override {
    std::visit([this](const auto& each) { Show(each); }, event);
  }

 private:
  void Show(const event::Connected& e) {
    // Reconnects, such as the one that confirms, are no news unless the loss was.
    if (connected_ && !away_) return;
    Done("connected", "", e.address, "  ", e.protocol);
    connected_ = true;
    away_ = false;
  }
  void Show(const event::Disconnected& e) {
    if (away_) return;
    away_ = true;
    Note("waiting", "", e.why.message(), "; trying again");
  }
  void Show(const event::Idle&) { Note("waiting", "", "no task selects this device by its labels yet"); }
  void Show(const event::Joined&) {}
  void Show(const event::Waiting& e) {
    const std::string reason = e.reason.empty() ? "no offer yet" : Printable(e.reason);
    Note("waiting", e.task, reason, ", until ", SoonText(e.until));
  }
  void Show(const event::Hindered& e) {
    // It is checked again and again; what is still so is no news.
    const std::string why = e.detail.empty() ? WordsOf(e.code) : Printable(e.detail);
    if (std::exchange(hindrance_[e.task], why) == why) return;
    Note("waiting", e.task, why, "; looking again at ", SecondText(e.retry_time));
  }
  void Show(const event::Undecided& e) {
    Note("undecided", e.task, "an update was interrupted here; rolled back at ", SecondText(e.until),
         " unless it is confirmed before");
  }
  void Show(const event::MethodChosen& e) {
    method_[e.task] = absl::StrCat(e.method == agent::Method::kFiles ? " by file" : "",
                                   e.why.empty() ? "" : absl::StrCat(", because ", Printable(e.why), ","));
  }
  void Show(const event::OperatorVerified& e) {
    Done("signed", e.task, "by ", Printable(e.user), " on ", Printable(e.device), ", verified up to the root key");
  }
  void Show(const event::Offered& e) {
    Done("offered", "", TaskId(e.task), " r", e.revision, ", ", Count(e.files, "file"), ", ", BytesText(e.bytes),
         e.forced ? ", must be applied by " : ", to be applied by ", SoonText(e.deadline));
    hindrance_.erase(e.task);
    payload_bytes_[e.task] = e.bytes;
  }
  void Show(const event::Progress& e) {
    if (!one_task_ || !StdoutIsTerminal() || e.total <= 0) return;
    RedrawLine(
        absl::StrCat("  · fetching     ", Bar(e.bytes, e.total), " ", BytesText(e.bytes), " of ", BytesText(e.total)));
    redrawn_ = true;
  }
  void Show(const event::Fetched& e) {
    const std::string reused = e.reused_bytes > 0 ? absl::StrCat(", ", BytesText(e.reused_bytes), " were here") : "";
    const std::string bar = one_task_ && StdoutIsTerminal() ? Bar(1, 1) + " " : "";
    Done("fetched", e.task, bar, BytesText(payload_bytes_[e.task]), reused, "  verified, signed by the task's key");
  }
  void Show(const event::CheckPassed& e) {
    check_[e.task] = absl::StrCat("check passed in ", DurationText(e.duration), ", ");
  }
  void Show(const event::Applied& e) {
    Done("applied", e.task, check_[e.task], "applied", method_[e.task], " in ", DurationText(e.duration));
    check_.erase(e.task);
    method_.erase(e.task);
  }
  void Show(const event::Confirmed& e) { Done("confirmed", e.task); }
  void Show(const event::RollingBack& e) {
    Failure(WordsOf(e.reason), e.task, "rolling back");
    PrintDetail(e.detail);
  }
  void Show(const event::RolledBack& e) {
    Done("rolled back", e.task,
         e.nothing_before ? "nothing was there before, and the new set is gone again" : "the old set is in place");
  }
  void Show(const event::RollbackFailed& e) {
    Failure("rollback failed", e.task, "a person must look at the target folder");
    PrintDetail(e.detail);
  }
  void Show(const event::UpToDate& e) {
    Done("up to date", "", TaskId(e.task), " r", e.revision, " is installed already");
  }
  void Show(const event::Declined& e) {
    Failure("declined", e.task, e.code, e.detail.empty() ? "" : ": ", Printable(e.detail));
  }
  void Show(const event::Ended& e) {
    payload_bytes_.erase(e.task);
    hindrance_.erase(e.task);
    if (task::IsAtRest(e.client_state) && e.client_state != Participant::STATE_INELIGIBLE &&
        e.client_state != Participant::STATE_CANCELED && e.client_state != Participant::STATE_TIMED_OUT) {
      return;
    }
    Note("ended", "", TaskId(e.task), " is ", StateText(e.task_state), ", this client ", StateText(e.client_state),
         e.reason.empty() ? "" : ": ", Printable(e.reason));
  }
  void Show(const event::Renewed& e) {
    Done("renewed", "", "this device's credential is good until ", TimeText(e.not_after));
  }
  void Show(const event::RenewalFailed& e) {
    Failure("not renewed", "", "the credential: ", Printable(std::string(e.why.message())), "; trying again at ",
            SoonText(e.retry_time));
  }
  void Show(const event::Failed& e) {
    Failure("failed", "", TaskId(e.task), "  ", Printable(std::string(e.why.message())));
  }

  // Prints a step. Where there may be several tasks, the line names the one that the step is of, if any.
  template <typename... Parts>
  void Line(const std::string& mark, absl::string_view step, const std::string& task, const Parts&... parts) {
    if (redrawn_) RedrawLine("");
    redrawn_ = false;
    const std::string text = absl::StrCat("", parts...), named = one_task_ ? "" : TaskId(task);
    const std::string line = absl::StrCat(named, named.empty() || text.empty() ? "" : "  ", text);
    const size_t padding = step.size() < kStepWidth ? kStepWidth - step.size() : 0;
    PrintLine("  ", mark, " ", step, line.empty() ? "" : std::string(padding + 1, ' '), line);
  }
  template <typename... Parts>
  void Done(absl::string_view step, const std::string& task, const Parts&... parts) {
    Line(Green("✔"), step, task, parts...);
  }
  template <typename... Parts>
  void Failure(absl::string_view step, const std::string& task, const Parts&... parts) {
    Line(Red("✘"), step, task, parts...);
  }
  template <typename... Parts>
  void Note(absl::string_view step, const std::string& task, const Parts&... parts) {
    Line("·", step, task, parts...);
  }

  bool connected_ = false;
  bool away_ = false;
  bool redrawn_ = false;
  const bool one_task_;
  std::map<std::string, int64_t> payload_bytes_;
  std::map<std::string, std::string> check_;
  // By task: what keeps it, as last said; and how its set is put in place.
  std::map<std::string, std::string> hindrance_, method_;
};

JsonObject Of(absl::string_view name, const std::string& task) { return JsonEvent(name).Text("task", task); }

JsonObject Json(const event::Connected& e) {
  return JsonEvent("connected").Text("address", e.address).Text("protocol", e.protocol);
}
JsonObject Json(const event::Disconnected& e) {
  return JsonEvent("disconnected").Text("reason", Reason(e.why)).Text("message", e.why.message());
}
JsonObject Json(const event::Idle&) { return JsonEvent("idle"); }
JsonObject Json(const event::Joined& e) { return Of("joined", e.task).Text("participant", e.participant); }
JsonObject Json(const event::Waiting& e) {
  return Of("waiting", e.task).Text("reason", e.reason).Text("until", JsonTime(e.until));
}
JsonObject Json(const event::Hindered& e) {
  return Of("hindered", e.task).Text("code", e.code).Text("detail", e.detail).Text("retryTime", JsonTime(e.retry_time));
}
JsonObject Json(const event::Undecided& e) { return Of("settling", e.task).Text("until", JsonTime(e.until)); }
JsonObject Json(const event::MethodChosen& e) {
  const char* const method = e.method == agent::Method::kFiles ? "files" : "exchange";
  return Of("method", e.task).Text("method", method).Text("why", e.why);
}
JsonObject Json(const event::OperatorVerified& e) {
  return Of("operatorVerified", e.task).Text("user", e.user).Text("device", e.device);
}
JsonObject Json(const event::Offered& e) {
  return Of("offered", e.task)
      .Number("revision", e.revision)
      .Number("files", e.files)
      .Number("bytes", e.bytes)
      .Text("deadline", JsonTime(e.deadline))
      .Bool("forced", e.forced);
}
JsonObject Json(const event::Progress& e) {
  return Of("progress", e.task).Number("bytes", e.bytes).Number("total", e.total);
}
JsonObject Json(const event::Fetched& e) {
  return Of("fetched", e.task).Number("received", e.received_bytes).Number("reused", e.reused_bytes);
}
JsonObject Json(const event::CheckPassed& e) {
  return Of("checkPassed", e.task).Number("milliseconds", absl::ToInt64Milliseconds(e.duration));
}
JsonObject Json(const event::Applied& e) {
  return Of("applied", e.task).Number("milliseconds", absl::ToInt64Milliseconds(e.duration));
}
JsonObject Json(const event::Confirmed& e) { return Of("confirmed", e.task).Number("revision", e.revision); }
JsonObject Json(const event::RollingBack& e) {
  return Of("rollingBack", e.task).Text("reason", e.reason).Text("detail", e.detail);
}
JsonObject Json(const event::RolledBack& e) { return Of("rolledBack", e.task).Bool("nothingBefore", e.nothing_before); }
JsonObject Json(const event::RollbackFailed& e) { return Of("rollbackFailed", e.task).Text("detail", e.detail); }
JsonObject Json(const event::UpToDate& e) { return Of("upToDate", e.task).Number("revision", e.revision); }
JsonObject Json(const event::Declined& e) {
  return Of("declined", e.task).Text("code", e.code).Text("detail", e.detail);
}
JsonObject Json(const event::Ended& e) {
  return Of("ended", e.task)
      .Text("taskState", Task::State_Name(e.task_state))
      .Text("clientState", Participant::State_Name(e.client_state))
      .Text("reason", e.reason);
}
JsonObject Json(const event::Renewed& e) { return JsonEvent("renewed").Text("notAfter", JsonTime(e.not_after)); }
JsonObject Json(const event::RenewalFailed& e) {
  return JsonEvent("renewalFailed")
      .Text("reason", Reason(e.why))
      .Text("message", e.why.message())
      .Text("retryTime", JsonTime(e.retry_time));
}
JsonObject Json(const event::Failed& e) {
  return Of("failed", e.task).Text("reason", Reason(e.why)).Text("message", e.why.message());
}

class JsonPrinter final : public agent::Observer {
 public:
  void OnEvent(const agent::Event& event) override {
    std::visit([](const auto& each) { Json(each).Print(); }, event);
  }
};

}  // namespace

std::unique_ptr<agent::Observer> NewPrinter(const Globals& globals, bool one_task) {
  PrintInBackground(globals);
  if (globals.json()) return std::make_unique<JsonPrinter>();
  return std::make_unique<TextPrinter>(one_task);
}

}  // namespace parley::cli
