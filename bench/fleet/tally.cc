#include "bench/fleet/tally.h"

#include <time.h>

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace parley::bench {

double Moment() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

double Quantile(const std::vector<double>& sorted, double part) {
  if (sorted.empty()) return 0;
  return sorted[std::min(sorted.size() - 1, static_cast<size_t>(part * static_cast<double>(sorted.size())))];
}

void Tally::Expect(int count) {
  MutexLock lock(&mutex_);
  missing_ = count;
  moments_.assign(count, 0);
}

void Tally::Note(int client) {
  const double now = Moment();
  MutexLock lock(&mutex_);
  if (client >= static_cast<int>(moments_.size()) || moments_[client] != 0) return;
  moments_[client] = now;
  if (--missing_ == 0) complete_.NotifyAll();
}

absl::StatusOr<std::vector<double>> Tally::Wait(absl::Duration limit, const std::string& what) {
  const double end = Moment() + absl::ToDoubleSeconds(limit);
  std::vector<double> moments;
  {
    MutexLock lock(&mutex_);
    while (missing_ > 0) {
      const double left = end - Moment();
      if (left <= 0) return absl::DeadlineExceededError(absl::StrCat(what, ": ", missing_, " clients are missing"));
      complete_.WaitFor(&mutex_, absl::Seconds(left));
    }
    moments = moments_;
  }
  std::sort(moments.begin(), moments.end());
  return moments;
}

}  // namespace parley::bench
