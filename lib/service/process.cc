#include "lib/service/process.h"

#include <errno.h>
#include <grpcpp/impl/codegen/service_type.h>
#include <grpcpp/server_builder.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/standard_streams.h"
#include "lib/service/health.h"
#include "lib/service/metrics_port.h"
#include "lib/service/reflection.h"
#include "lib/transport/grpc_log.h"
#include "lib/transport/grpc_poller.h"
#include "lib/transport/listener.h"

namespace parley::service {
namespace {

sigset_t StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

int StopFd() {
  const sigset_t signals = StopSignals();
  return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

absl::Status Harden() {
  FillStandardStreams();
  // A core dump would hold every secret of the process.
  const rlimit none{0, 0};
  if (setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0) != 0) {
    return Error(absl::StatusCode::kInternal, "PROCESS", "cannot disable core dumps: ", ErrnoText(errno));
  }
  // Debian's Abseil is built to look for deadlocks at every lock, and gRPC takes many: a tenth of a service's time.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  umask(077);
  signal(SIGPIPE, SIG_IGN);
  // The terminal that a service was started from may go; the service has nothing to read anew.
  signal(SIGHUP, SIG_IGN);
  // A write beyond a limit is an error like a full disk, not the end.
  signal(SIGXFSZ, SIG_IGN);
  // Some tell a program by one of these to open its logs anew, and here nothing is.
  for (const int number : {SIGUSR1, SIGUSR2}) signal(number, SIG_IGN);
  const sigset_t signals = StopSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  // The process takes the highest limit that it may have. With a lower one the door takes fewer connections, which is
  // no reason not to start.
  if (rlimit files; getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  return absl::OkStatus();
}

absl::Status Notify(const std::string& line) {
  const char* const notify_fd = getenv("NOTIFY_FD");
  if (notify_fd == nullptr) return absl::OkStatus();
  int fd = -1;
  if (!absl::SimpleAtoi(notify_fd, &fd) || fd < 0 || write(fd, line.data(), line.size()) < 0) {
    return InvalidArgument("NOTIFY_FD", "NOTIFY_FD is '", notify_fd, "', which is not an open descriptor's number");
  }
  close(fd);
  return absl::OkStatus();
}

using Samples = std::vector<rpc::Metrics::Sample>;

Samples One(int64_t count) { return {{{}, static_cast<double>(count)}}; }

Samples ByLabel(const std::string& label, const std::map<std::string, int64_t>& counts) {
  Samples samples;
  for (const auto& [value, count] : counts) samples.push_back({{{label, value}}, static_cast<double>(count)});
  return samples;
}

}  // namespace

Process::Process(ProcessOptions options)
    : options_(std::move(options)), stop_fd_(StopFd()), health_(std::make_unique<Health>(options_.services)) {}

Process::~Process() = default;

absl::Status Process::Open() {
  if (!options_.health_listen.empty()) {
    ASSIGN_OR_RETURN(health_port_, HealthPort::Open(options_.health_listen, health_.get()));
  }
  if (!options_.metrics_listen.empty()) {
    ASSIGN_OR_RETURN(metrics_port_, MetricsPort::Open(options_.metrics_listen, &metrics_));
  }
  return absl::OkStatus();
}

void Process::Prepare(grpc::ServerBuilder* builder) {
  health_service_ = health_->MakeService();
  builder->RegisterService(health_service_.get());
  std::vector<std::string> services = options_.services;
  services.push_back("grpc.health.v1.Health");
  reflection_service_ = MakeReflection(std::move(services));
  builder->RegisterService(reflection_service_.get());
}

rpc::Metrics::Source Process::CountDoor(const transport::Listener* listener) {
  using Kind = rpc::Metrics::Kind;
  using Stats = transport::ListenerStats;
  const auto sources = std::make_shared<std::vector<rpc::Metrics::Source>>();
  const auto add = [&](const char* name, const char* help, Kind kind, std::function<Samples(const Stats&)> read) {
    sources->push_back(
        metrics_.Add(name, help, kind, [listener, read = std::move(read)] { return read(listener->stats()); }));
  };
  add("parley_handshakes_total", "TLS handshakes that have ended, by outcome.", Kind::kCounter,
      [](const Stats& stats) { return ByLabel("outcome", stats.handshakes); });
  add("parley_handshakes_in_progress", "TLS handshakes under way.", Kind::kGauge,
      [](const Stats& stats) { return One(stats.handshakes_under_way); });
  add("parley_connections", "Connections, with those that are shaking hands.", Kind::kGauge,
      [](const Stats& stats) { return One(stats.connections); });
  add("parley_connections_max", "Connections that there are places for.", Kind::kGauge,
      [](const Stats& stats) { return One(stats.max_connections); });
  add("parley_guard_breaches_total", "Connections that the guard has ended, by the budget that was broken.",
      Kind::kCounter, [](const Stats& stats) { return ByLabel("breach", stats.breaches); });
  add("parley_relay_bytes_total", "Bytes from and to peers after their handshakes, as on the network.", Kind::kCounter,
      [](const Stats& stats) {
        return ByLabel("direction", {{"in", stats.bytes_in}, {"out", stats.bytes_out}});
      });
  return sources;
}

absl::Status Process::Serving(absl::string_view address) {
  health_->SetServing();
  LogInfo("serving", {{"address", std::string(address)},
                      {"health", health_port_ == nullptr ? "" : health_port_->address()},
                      {"metrics", metrics_port_ == nullptr ? "" : metrics_port_->address()}});
  const std::string line = absl::StrCat(address, "\n");
  if (!options_.ready_file.empty()) RETURN_IF_ERROR(WriteFileAtomically(options_.ready_file, line, 0600));
  return Notify(line);
}

void Process::WaitForStop() {
  signalfd_siginfo received{};
  while (read(stop_fd_.get(), &received, sizeof(received)) != sizeof(received)) {
    pollfd told{.fd = stop_fd_.get(), .events = POLLIN, .revents = 0};
    poll(&told, 1, -1);
  }
  health_->SetStopping();
  LogInfo("stopping", {{"signal", received.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT"}});
}

int RunService(const ProcessOptions& options, const std::function<absl::Status(Process&)>& service) {
  SetLogService(options.name);
  transport::TakeGrpcLog();
  // First, so that every thread that begins later has the signals blocked.
  absl::Status status = Harden();
  if (!transport::PollGrpcInLoop()) {
    LogInfo("gRPC works on threads of its own, because the relay cannot do its work here; a call costs more");
  }
  if (status.ok()) {
    Process process(options);
    status = process.Open();
    if (status.ok()) status = service(process);
  }
  if (status.ok() || Reason(status) == "STOPPED") {
    // Apart from "stopping", so that one sees how long the end took, and that it came.
    LogInfo("stopped");
    return 0;
  }
  fprintf(stderr, "%s: %s\n", options.name.c_str(), std::string(status.message()).c_str());
  return 1;
}

}  // namespace parley::service
