#include "lib/transport/grpc_log.h"

#include <grpc/support/log.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "lib/base/log.h"
#include "lib/base/mutex.h"
#include "lib/base/token_bucket.h"

namespace parley::transport {
namespace {

constexpr size_t kMaxBytes = 1024;
constexpr TokenBucket::Rate kLines = {.per_second = 5, .burst = 20};

class Limiter {
 public:
  // Returns whether a line may be logged, and in `dropped` how many were not since the last one that was.
  bool Take(int64_t* dropped) {
    MutexLock lock(&mutex_);
    if (!lines_.Take()) {
      ++dropped_;
      return false;
    }
    *dropped = std::exchange(dropped_, 0);
    return true;
  }

 private:
  Mutex mutex_;
  TokenBucket lines_ ABSL_GUARDED_BY(mutex_){kLines, Clock::System()};
  int64_t dropped_ ABSL_GUARDED_BY(mutex_) = 0;
};

void Log(gpr_log_func_args* args) {
  // gRPC logs until the process ends.
  static Limiter* const limiter = new Limiter();
  int64_t dropped = 0;
  if (!limiter->Take(&dropped)) return;
  absl::string_view text(args->message);
  const bool cut = text.size() > kMaxBytes;
  const auto log = args->severity == GPR_LOG_SEVERITY_ERROR ? LogError : LogInfo;
  log("grpc", {{"text", absl::StrCat(text.substr(0, kMaxBytes), cut ? "…" : "")},
               {"source", absl::StrCat(args->file, ":", args->line)},
               {"dropped", absl::StrCat(dropped)}});
}

}  // namespace

void TakeGrpcLog() { gpr_set_log_function(&Log); }

}  // namespace parley::transport
