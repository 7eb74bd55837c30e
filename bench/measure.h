// What the benchmarks of whole services have in common.
#ifndef PARLEY_BENCH_MEASURE_H_
#define PARLEY_BENCH_MEASURE_H_

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "lib/base/error.h"
#include "lib/keys/dial.h"
#include "lib/transport/channel.h"

namespace parley::bench {

// The processor time that a process has used, by what /proc knows.
inline double ProcessorSeconds(int pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
  std::string line;
  std::getline(file, line);
  std::istringstream fields(line.substr(line.rfind(')') + 2));
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  double user = 0, system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

// How often the threads that a process has now have given up their core by themselves: waited, slept, or were to be
// woken.
inline double VoluntarySwitches(int pid) {
  double switches = 0;
  for (const auto& thread : std::filesystem::directory_iterator(absl::StrCat("/proc/", pid, "/task"))) {
    std::ifstream file(thread.path() / "status");
    constexpr absl::string_view kLine = "voluntary_ctxt_switches:";
    for (std::string line; std::getline(file, line);) {
      if (absl::StartsWith(line, kLine)) switches += std::stod(line.substr(kLine.size()));
    }
  }
  return switches;
}

inline double ResidentKib(int pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/statm"));
  double total = 0, resident = 0;
  file >> total >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE)) / 1024;
}

inline absl::StatusOr<std::unique_ptr<transport::Channel>> Connect(const std::string& address,
                                                                   const std::string& identity, const Secret& secret) {
  return transport::Channel::Create(keys::DialOptions(address, identity, secret));
}

// Runs `work` once on each of `count` threads; the first error.
template <typename Work>
absl::Status OnThreads(int count, Work work) {
  std::vector<absl::Status> errors(count);
  std::vector<std::thread> threads;
  for (absl::Status& error : errors) threads.emplace_back([&work, &error] { error = work(); });
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& error : errors) RETURN_IF_ERROR(error);
  return absl::OkStatus();
}

}  // namespace parley::bench

#endif  // PARLEY_BENCH_MEASURE_H_
