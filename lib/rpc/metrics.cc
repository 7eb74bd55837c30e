#include "lib/rpc/metrics.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"

namespace parley::rpc {
namespace {

// The names that go-grpc-prometheus writes, for which dashboards and alerts are made.
constexpr const char* kCodeNames[] = {
    "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated"};

// Seconds. A commit to a disk takes milliseconds; streams last.
constexpr double kUpTo[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};

// Escapes a value in quotes, by the rules of the text format.
std::string Escaped(absl::string_view value) {
  std::string text;
  for (const char letter : value) {
    if (letter == '\n') {
      absl::StrAppend(&text, "\\n");
      continue;
    }
    if (letter == '\\' || letter == '"') text.push_back('\\');
    text.push_back(letter);
  }
  return text;
}

void AppendHead(absl::string_view name, absl::string_view help, absl::string_view type, std::string* text) {
  absl::StrAppend(text, "# HELP ", name, " ", help, "\n# TYPE ", name, " ", type, "\n");
}

void AppendSample(absl::string_view name, const std::map<std::string, std::string>& labels, double value,
                  std::string* text) {
  absl::StrAppend(text, name);
  absl::string_view before = "{";
  for (const auto& [label, content] : labels) {
    absl::StrAppend(text, before, label, "=\"", Escaped(content), "\"");
    before = ",";
  }
  // Six digits, as StrCat writes a double, would turn bytes and times into something near them.
  absl::StrAppendFormat(text, "%s %.17g\n", labels.empty() ? "" : "}", value);
}

double ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  double size = 0, resident = 0;
  file >> size >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Open from the first metrics on, as it takes a descriptor to count descriptors, and there may be none when it counts.
class DescriptorFolder {
 public:
  DescriptorFolder() : folder_(opendir("/proc/self/fd")) {}
  ~DescriptorFolder() {
    if (folder_ != nullptr) closedir(folder_);
  }

  double Count() {
    MutexLock lock(&mutex_);
    if (folder_ == nullptr) return 0;
    rewinddir(folder_);
    // Without "." and "..".
    int count = -2;
    while (readdir(folder_) != nullptr) ++count;
    return count;
  }

 private:
  Mutex mutex_;
  DIR* const folder_ ABSL_PT_GUARDED_BY(mutex_);
};

double MostDescriptors() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<double>(limit.rlim_cur);
}

}  // namespace

Metrics::Metrics() {
  static_assert(std::size(kCodeNames) == kCodes && std::size(kUpTo) == kBounds);
  static const double start = absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch());
  const auto add = [this](const char* name, const char* help, Kind kind, std::function<double()> read) {
    own_.push_back(Add(name, help, kind, [read = std::move(read)] { return std::vector<Sample>{{{}, read()}}; }));
  };
  add("process_resident_memory_bytes", "Memory in use.", Kind::kGauge, ResidentBytes);
  add("process_cpu_seconds_total", "Processor time used.", Kind::kCounter, CpuSeconds);
  add("process_open_fds", "File descriptors in use.", Kind::kGauge,
      [folder = std::make_shared<DescriptorFolder>()] { return folder->Count(); });
  add("process_max_fds", "File descriptors that may be in use.", Kind::kGauge, MostDescriptors);
  add("process_start_time_seconds", "When the process began.", Kind::kGauge, [] { return start; });
}

Metrics::Source Metrics::Add(const std::string& name, const std::string& help, Kind kind, Read read) {
  const auto metric = std::make_shared<Metric>(Metric{name, help, kind, std::move(read)});
  MutexLock lock(&metrics_mutex_);
  metrics_.emplace(metric.get(), metric);
  // Removed under the lock that a reading holds.
  return Source(nullptr, [this, key = metric.get()](void*) {
    MutexLock lock(&metrics_mutex_);
    metrics_.erase(key);
  });
}

void Metrics::Started(absl::string_view method, absl::string_view type) {
  MutexLock lock(&methods_mutex_);
  ++Find(method, type)->started;
}

void Metrics::Handled(absl::string_view method, absl::string_view type, absl::StatusCode code, absl::Duration took) {
  const int number = static_cast<int>(code);
  const int index = number >= 0 && number < kCodes ? number : static_cast<int>(absl::StatusCode::kUnknown);
  const double seconds = absl::ToDoubleSeconds(took);
  const size_t bucket = std::lower_bound(std::begin(kUpTo), std::end(kUpTo), seconds) - std::begin(kUpTo);
  MutexLock lock(&methods_mutex_);
  MethodMetrics* const metrics = Find(method, type);
  ++metrics->handled[index];
  ++metrics->buckets[bucket];
  metrics->seconds += seconds;
}

std::string Metrics::Text() const {
  std::string text;
  AppendCalls(&text);
  MutexLock lock(&metrics_mutex_);
  // Those of one name stand together, as the format demands.
  std::map<std::string, std::vector<const Metric*>> named;
  for (const auto& [key, metric] : metrics_) named[metric->name].push_back(key);
  for (const auto& [name, metrics] : named) {
    AppendHead(name, metrics[0]->help, metrics[0]->kind == Kind::kGauge ? "gauge" : "counter", &text);
    for (const Metric* const metric : metrics) {
      for (const Sample& sample : metric->read()) AppendSample(name, sample.labels, sample.value, &text);
    }
  }
  return text;
}

Metrics::MethodMetrics* Metrics::Find(absl::string_view method, absl::string_view type) {
  const auto found = methods_.find(method);
  if (found != methods_.end()) return &found->second;
  const size_t dot = method.rfind('.');
  MethodMetrics& metrics = methods_[std::string(method)];
  metrics.labels = {{"grpc_type", std::string(type)},
                    {"grpc_service", std::string(method.substr(0, dot))},
                    {"grpc_method", std::string(dot == absl::string_view::npos ? "" : method.substr(dot + 1))}};
  return &metrics;
}

void Metrics::AppendCalls(std::string* text) const {
  MutexLock lock(&methods_mutex_);
  AppendHead("grpc_server_started_total", "Calls that were begun.", "counter", text);
  for (const auto& [name, method] : methods_) {
    AppendSample("grpc_server_started_total", method.labels, static_cast<double>(method.started), text);
  }
  AppendHead("grpc_server_handled_total", "Calls that have ended, by code.", "counter", text);
  for (const auto& [name, method] : methods_) {
    Labels labels = method.labels;
    for (int code = 0; code < kCodes; ++code) {
      if (method.handled[code] == 0) continue;
      labels["grpc_code"] = kCodeNames[code];
      AppendSample("grpc_server_handled_total", labels, static_cast<double>(method.handled[code]), text);
    }
  }
  AppendHead("grpc_server_handling_seconds", "How long calls took.", "histogram", text);
  for (const auto& [name, method] : methods_) AppendHistogram(method, text);
}

void Metrics::AppendHistogram(const MethodMetrics& method, std::string* text) {
  Labels labels = method.labels;
  int64_t count = 0;
  for (size_t i = 0; i <= std::size(kUpTo); ++i) {
    count += method.buckets[i];
    labels["le"] = i < std::size(kUpTo) ? absl::StrCat(kUpTo[i]) : "+Inf";
    AppendSample("grpc_server_handling_seconds_bucket", labels, static_cast<double>(count), text);
  }
  AppendSample("grpc_server_handling_seconds_sum", method.labels, method.seconds, text);
  AppendSample("grpc_server_handling_seconds_count", method.labels, static_cast<double>(count), text);
}

}  // namespace parley::rpc
