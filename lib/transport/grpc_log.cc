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

struct Limit {
  Mutex mutex;
  TokenBucket lines ABSL_GUARDED_BY(mutex){kLines, Clock::System()};
  // How many lines were not logged since the last one that was.
  int64_t dropped ABSL_GUARDED_BY(mutex) = 0;
};

void Log(gpr_log_func_args* args) {
  // gRPC logs until the process ends.
  static Limit* const limit = new Limit();
  int64_t dropped = 0;
  {
    MutexLock lock(&limit->mutex);
    if (!limit->lines.Take()) {
      ++limit->dropped;
      return;
    }
    dropped = std::exchange(limit->dropped, 0);
  }
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
