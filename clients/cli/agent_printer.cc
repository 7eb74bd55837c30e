#include "clients/cli/agent_printer.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "clients/cli/format.h"
#include "clients/cli/output.h"
#include "clients/cli/task_name.h"
#include "clients/cli/task_text.h"
#include "clients/cli/terminal.h"
#include "lib/base/error.h"
#include "lib/task/states.h"

namespace parley::cli {
namespace {

using task::v1::Manifest;
using task::v1::Participant;
using task::v1::Task;

constexpr int kBarCells = 12;
constexpr size_t kStepWidth = 14;

std::string Bar(int64_t bytes, int64_t total) {
  const int64_t full = total <= 0 ? kBarCells : std::clamp<int64_t>(bytes * kBarCells / total, 0, kBarCells);
  std::string bar;
  for (int i = 0; i < kBarCells; ++i) absl::StrAppend(&bar, i < full ? "█" : "░");
  return bar;
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

  void Connected(const std::string& address, const std::string& protocol) override {
    // Reconnects, such as the one that confirms, are no news unless the loss was.
    if (connected_ && !away_) return;
    Done("connected", absl::StrCat(address, "  ", protocol));
    connected_ = true;
    away_ = false;
  }
  void Disconnected(const absl::Status& why, absl::Time retry_time) override {
    if (away_) return;
    away_ = true;
    Note("waiting", absl::StrCat(why.message(), "; trying again"));
  }
  void Idle() override { Note("waiting", "no task selects this device by its labels yet"); }
  void Waiting(const std::string& task, const std::string& reason, absl::Time until) override {
    Note("waiting",
         Of(task, absl::StrCat(reason.empty() ? "no offer yet" : Printable(reason), ", until ", SoonText(until))));
  }
  void Hindered(const std::string& task, const std::string& code, const std::string& detail,
                absl::Time retry_time) override {
    // It looks again and again; what is still so is no news.
    const std::string why = detail.empty() ? WordsOf(code) : Printable(detail);
    if (std::exchange(hindrance_[task], why) == why) return;
    Note("waiting", Of(task, absl::StrCat(why, "; looking again at ", SecondText(retry_time))));
  }
  void Settling(const std::string& task, absl::Time until) override {
    Note("undecided", Of(task, absl::StrCat("an update was interrupted here; rolled back at ", SecondText(until),
                                            " unless it is confirmed before")));
  }
  void MethodChosen(const std::string& task, const std::string& method, const std::string& why) override {
    method_[task] = absl::StrCat(method == "files" ? " by file" : "", why.empty() ? "" : ", because ", Printable(why),
                                 why.empty() ? "" : ",");
  }
  void OperatorVerified(const std::string& task, const std::string& user, const std::string& device) override {
    Done("signed",
         Of(task, absl::StrCat("by ", Printable(user), " on ", Printable(device), ", verified up to the root key")));
  }
  void Offered(const Manifest& manifest, absl::Time deadline, bool forced) override {
    Done("offered", absl::StrCat(TaskId(manifest.task()), " r", manifest.revision(), ", ",
                                 Count(manifest.files_size(), "file"), ", ", BytesText(manifest.size()),
                                 forced ? ", must be applied by " : ", to be applied by ", SoonText(deadline)));
    hindrance_.erase(manifest.task());
    payload_bytes_[manifest.task()] = manifest.size();
  }
  void Progress(const std::string& task, int64_t bytes, int64_t total) override {
    if (!one_task_ || !StdoutIsTerminal() || total <= 0) return;
    RedrawLine(absl::StrCat("  · fetching     ", Bar(bytes, total), " ", BytesText(bytes), " of ", BytesText(total)));
    redrawn_ = true;
  }
  void Fetched(const std::string& task, int64_t received_bytes, int64_t reused_bytes) override {
    const std::string reused = reused_bytes > 0 ? absl::StrCat(", ", BytesText(reused_bytes), " were here") : "";
    const std::string bar = one_task_ && StdoutIsTerminal() ? Bar(1, 1) + " " : "";
    Done("fetched",
         Of(task, absl::StrCat(bar, BytesText(payload_bytes_[task]), reused, "  verified, signed by the task's key")));
  }
  void CheckPassed(const std::string& task, absl::Duration duration) override {
    check_[task] = absl::StrCat("check passed in ", DurationText(duration), ", ");
  }
  void Applied(const std::string& task, absl::Duration duration) override {
    Done("applied", Of(task, absl::StrCat(check_[task], "applied", method_[task], " in ", DurationText(duration))));
    check_.erase(task);
    method_.erase(task);
  }
  void Confirmed(const std::string& task, int64_t revision) override { Done("confirmed", Of(task, "")); }
  void RollingBack(const std::string& task, const std::string& reason, const std::string& detail) override {
    Failure(WordsOf(reason), Of(task, "rolling back"));
    PrintDetail(detail);
  }
  void RolledBack(const std::string& task) override { Done("rolled back", Of(task, "the old set is in place")); }
  void RollbackFailed(const std::string& task, const std::string& detail) override {
    Failure("rollback failed", Of(task, "a person must look at the target folder"));
    PrintDetail(detail);
  }
  void UpToDate(const std::string& task, int64_t revision) override {
    Done("up to date", absl::StrCat(TaskId(task), " r", revision, " is installed already"));
  }
  void Declined(const std::string& task, const std::string& code, const std::string& detail) override {
    Failure("declined", Of(task, absl::StrCat(code, detail.empty() ? "" : ": ", Printable(detail))));
  }
  void Ended(const std::string& task, Task::State task_state, Participant::State client_state,
             const std::string& reason) override {
    payload_bytes_.erase(task);
    hindrance_.erase(task);
    if (task::IsAtRest(client_state) && client_state != Participant::STATE_INELIGIBLE &&
        client_state != Participant::STATE_CANCELED && client_state != Participant::STATE_TIMED_OUT) {
      return;
    }
    Note("ended", absl::StrCat(TaskId(task), " is ", StateText(task_state), ", this client ", StateText(client_state),
                               reason.empty() ? "" : ": ", Printable(reason)));
  }
  void Renewed(absl::Time not_after) override {
    Done("renewed", absl::StrCat("this device's credential is good until ", TimeText(not_after)));
  }
  void RenewalFailed(const absl::Status& why, absl::Time retry_time) override {
    Failure("not renewed", absl::StrCat("the credential: ", Printable(std::string(why.message())), "; trying again at ",
                                        SoonText(retry_time)));
  }
  void Failed(const std::string& task, const absl::Status& why) override {
    Failure("failed", absl::StrCat(TaskId(task), "  ", Printable(std::string(why.message()))));
  }

 private:
  // The text with its task's name, where there may be several.
  std::string Of(const std::string& task, const std::string& text) const {
    if (one_task_) return text;
    return absl::StrCat(TaskId(task), text.empty() ? "" : "  ", text);
  }
  void Line(const std::string& mark, absl::string_view step, absl::string_view text) {
    if (redrawn_) RedrawLine("");
    redrawn_ = false;
    const size_t padding = step.size() < kStepWidth ? kStepWidth - step.size() : 0;
    PrintLine(absl::StrCat("  ", mark, " ", step, text.empty() ? "" : std::string(padding + 1, ' '), text));
  }
  void Done(absl::string_view step, const std::string& text) { Line(Green("✔"), step, text); }
  void Failure(absl::string_view step, const std::string& text) { Line(Red("✘"), step, text); }
  void Note(absl::string_view step, const std::string& text) { Line("·", step, text); }

  bool connected_ = false;
  bool away_ = false;
  bool redrawn_ = false;
  const bool one_task_;
  std::map<std::string, int64_t> payload_bytes_;
  std::map<std::string, std::string> check_;
  // By task: what keeps it, as last said; and how its set is put in place.
  std::map<std::string, std::string> hindrance_, method_;
};

class JsonPrinter final : public agent::Observer {
 public:
  void Connected(const std::string& address, const std::string& protocol) override {
    Event("connected").Text("address", address).Text("protocol", protocol).Print();
  }
  void Disconnected(const absl::Status& why, absl::Time retry_time) override {
    Event("disconnected").Text("reason", Reason(why)).Text("message", why.message()).Print();
  }
  void Idle() override { Event("idle").Print(); }
  void Joined(const Task& task, const std::string& participant) override {
    Event("joined").Text("task", task.name()).Text("participant", participant).Print();
  }
  void Waiting(const std::string& task, const std::string& reason, absl::Time until) override {
    Event("waiting").Text("task", task).Text("reason", reason).Text("until", Rfc3339(until)).Print();
  }
  void Hindered(const std::string& task, const std::string& code, const std::string& detail,
                absl::Time retry_time) override {
    Event("hindered")
        .Text("task", task)
        .Text("code", code)
        .Text("detail", detail)
        .Text("retryTime", Rfc3339(retry_time))
        .Print();
  }
  void Settling(const std::string& task, absl::Time until) override {
    Event("settling").Text("task", task).Text("until", Rfc3339(until)).Print();
  }
  void MethodChosen(const std::string& task, const std::string& method, const std::string& why) override {
    Event("method").Text("task", task).Text("method", method).Text("why", why).Print();
  }
  void OperatorVerified(const std::string& task, const std::string& user, const std::string& device) override {
    Event("operatorVerified").Text("task", task).Text("user", user).Text("device", device).Print();
  }
  void Offered(const Manifest& manifest, absl::Time deadline, bool forced) override {
    Event("offered")
        .Text("task", manifest.task())
        .Number("revision", manifest.revision())
        .Number("files", manifest.files_size())
        .Number("bytes", manifest.size())
        .Text("deadline", Rfc3339(deadline))
        .Raw("forced", forced ? "true" : "false")
        .Print();
  }
  void Progress(const std::string& task, int64_t bytes, int64_t total) override {
    Event("progress").Text("task", task).Number("bytes", bytes).Number("total", total).Print();
  }
  void Fetched(const std::string& task, int64_t received_bytes, int64_t reused_bytes) override {
    Event("fetched").Text("task", task).Number("received", received_bytes).Number("reused", reused_bytes).Print();
  }
  void CheckPassed(const std::string& task, absl::Duration duration) override {
    Event("checkPassed").Text("task", task).Number("milliseconds", absl::ToInt64Milliseconds(duration)).Print();
  }
  void Applied(const std::string& task, absl::Duration duration) override {
    Event("applied").Text("task", task).Number("milliseconds", absl::ToInt64Milliseconds(duration)).Print();
  }
  void Confirmed(const std::string& task, int64_t revision) override {
    Event("confirmed").Text("task", task).Number("revision", revision).Print();
  }
  void RollingBack(const std::string& task, const std::string& reason, const std::string& detail) override {
    Event("rollingBack").Text("task", task).Text("reason", reason).Text("detail", detail).Print();
  }
  void RolledBack(const std::string& task) override { Event("rolledBack").Text("task", task).Print(); }
  void RollbackFailed(const std::string& task, const std::string& detail) override {
    Event("rollbackFailed").Text("task", task).Text("detail", detail).Print();
  }
  void UpToDate(const std::string& task, int64_t revision) override {
    Event("upToDate").Text("task", task).Number("revision", revision).Print();
  }
  void Declined(const std::string& task, const std::string& code, const std::string& detail) override {
    Event("declined").Text("task", task).Text("code", code).Text("detail", detail).Print();
  }
  void Ended(const std::string& task, Task::State task_state, Participant::State client_state,
             const std::string& reason) override {
    Event("ended")
        .Text("task", task)
        .Text("taskState", Task::State_Name(task_state))
        .Text("clientState", Participant::State_Name(client_state))
        .Text("reason", reason)
        .Print();
  }
  void Renewed(absl::Time not_after) override { Event("renewed").Text("notAfter", Rfc3339(not_after)).Print(); }
  void RenewalFailed(const absl::Status& why, absl::Time retry_time) override {
    Event("renewalFailed")
        .Text("reason", Reason(why))
        .Text("message", why.message())
        .Text("retryTime", Rfc3339(retry_time))
        .Print();
  }
  void Failed(const std::string& task, const absl::Status& why) override {
    Event("failed").Text("task", task).Text("reason", Reason(why)).Text("message", why.message()).Print();
  }

 private:
  static JsonObject Event(absl::string_view name) {
    JsonObject event;
    event.Text("event", name);
    return event;
  }
  static std::string Rfc3339(absl::Time time) {
    return time == absl::InfiniteFuture() ? "" : absl::FormatTime(absl::RFC3339_sec, time, absl::UTCTimeZone());
  }
};

}  // namespace

std::unique_ptr<agent::Observer> NewTextPrinter(bool one_task) { return std::make_unique<TextPrinter>(one_task); }
std::unique_ptr<agent::Observer> NewJsonPrinter() { return std::make_unique<JsonPrinter>(); }

}  // namespace parley::cli
