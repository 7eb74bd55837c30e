// Every task for a machine: agent::RunDevice.
#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "clients/agent/agent.h"
#include "clients/agent/faults.h"
#include "clients/agent/identity.h"
#include "clients/agent/operator_check.h"
#include "clients/agent/targets.h"
#include "clients/agent/task_session.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/sync_stream.h"
#include "lib/base/backoff.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/timer_queue.h"
#include "lib/keys/identity.h"
#include "parley/task/v1/participation_service.grpc.pb.h"

namespace parley::agent {
namespace {

using task::v1::Task;

// A server that is not to be trusted with a machine's threads.
constexpr size_t kMaxTasks = 64;
// Between two tries of a task that could not be carried out: the first, which doubles up to the second.
constexpr absl::Duration kMinTryAgain = absl::Minutes(1);
constexpr absl::Duration kMaxTryAgain = absl::Minutes(10);
// A server that has tasks for a device names them at once.
constexpr absl::Duration kIdleAfter = absl::Seconds(1);
// Between two tries to renew the credential: the first, which doubles up to the second.
constexpr absl::Duration kMinRenewalPause = absl::Minutes(1);
constexpr absl::Duration kMaxRenewalPause = absl::Hours(1);

absl::Status CheckCredential(const keys::Credential& credential) {
  if (credential.role != access::v1::ROLE_DEVICE) {
    return Error(absl::StatusCode::kInvalidArgument, "NOT_A_DEVICE",
                 "the credential is not a device's; issue one with: parley key issue --role device");
  }
  return credential.KeyFor(keys::kTaskd).status();
}

class Device {
 public:
  Device(DeviceOptions options, Observer* observer, Cancellation* cancellation)
      : options_(std::move(options)),
        announce_(observer, &observer_mutex_),
        cancellation_(cancellation),
        credential_(std::make_shared<keys::Credential>(std::move(options_.credential))),
        renewals_(options_.clock) {
    AddFacts(&options_.facts);
  }
  ~Device() {
    for (auto& [task, running] : tasks_) running->thread.join();
    for (std::thread& thread : resuming_) thread.join();
  }

  absl::Status Run() {
    ResumeAtStart();
    ScheduleRenewal();
    Retry retry(options_, /*patient=*/true);
    while (true) {
      const CredentialPtr used = credential();
      retry.Begin();
      const absl::Status status = ExplainKey(Watch(*used, &retry), used->not_after, options_.clock);
      if (cancellation_->cancelled()) return Stopped();
      if (used != credential()) continue;
      absl::Duration wait;
      if (const absl::Status next = retry.Next(status, &wait); !next.ok()) {
        cancellation_->Cancel();  // The sessions end with their device.
        return next;
      }
      announce_(event::Disconnected{status, options_.clock->Now() + wait});
      if (const absl::Status slept = cancellation_->Sleep(wait); !slept.ok()) return slept;
    }
  }

 private:
  using CredentialPtr = std::shared_ptr<const keys::Credential>;
  struct Running {
    std::thread thread;
    std::atomic<bool> done = false;
  };

  // What an earlier process left undecided ends whatever the server says, or does not say. Nothing is waited for.
  void ResumeAtStart() {
    for (const std::string& target : KnownTargets(options_)) {
      if (!MayBeUndecided(target)) continue;
      resuming_.emplace_back([this, target] {
        const absl::Status status = ResumeTarget(options_, target, /*share=*/false, announce_, cancellation_);
        if (!status.ok()) LogWarning("could not look at a target", {{"error", std::string(status.message())}});
      });
    }
  }

  CredentialPtr credential() const {
    MutexLock lock(&credential_mutex_);
    return credential_;
  }

  // By chance a little earlier, so that machines that were set up together do not come together.
  void ScheduleRenewal() {
    if (options_.renew == nullptr) return;
    const absl::Time now = options_.clock->Now();
    std::random_device random;
    const double part = std::uniform_real_distribution<double>(0.6, 2.0 / 3)(random);
    renewals_.Schedule(now + (credential()->not_after - now) * part, [this] { Renew(); });
  }

  // What is connected stays so until the former credential ends.
  void Renew() {
    absl::StatusOr<keys::Credential> renewed = options_.renew();
    if (const absl::Status status = renewed.ok() ? CheckCredential(*renewed) : renewed.status(); !status.ok()) {
      const absl::Time next = options_.clock->Now() + renewal_pauses_.Next();
      announce_(event::RenewalFailed{status, next});
      renewals_.Schedule(next, [this] { Renew(); });
      return;
    }
    const absl::Time not_after = renewed->not_after;
    {
      MutexLock lock(&credential_mutex_);
      credential_ = std::make_shared<keys::Credential>(*std::move(renewed));
    }
    renewal_pauses_.Reset();
    // Only now: what connects once this is known does so with the new one.
    announce_(event::Renewed{not_after});
    ScheduleRenewal();
  }

  absl::Status Watch(const keys::Credential& credential, Retry* retry) {
    ASSIGN_OR_RETURN(const keys::AudienceKey* const key, credential.KeyFor(keys::kTaskd));
    ASSIGN_OR_RETURN(const auto channel, Connect(AddressOf(*key), key->identity, key->secret, options_.clock));
    const auto stub = task::v1::ParticipationService::NewStub(channel->grpc());
    grpc::ClientContext context;
    const Cancellation::Listener on_cancel(cancellation_, [&context] { context.TryCancel(); });
    task::v1::WatchAssignmentsRequest request;
    request.mutable_facts()->insert(options_.facts.begin(), options_.facts.end());
    const auto reader = stub->WatchAssignments(&context, request);
    // The server says at once that the stream stands, and may then have nothing to say for days.
    reader->WaitForInitialMetadata();
    TimerQueue timers(options_.clock);
    TimerQueue::TimerId timer = 0;
    std::atomic<bool> idle = false;
    if (!channel->dialer().protocol().empty()) {
      retry->Reached();
      announce_(event::Connected{AddressOf(*key), channel->dialer().protocol()});
      timer = timers.Schedule(options_.clock->Now() + kIdleAfter, [&] {
        idle = true;
        announce_(event::Idle{});
      });
    }
    task::v1::WatchAssignmentsResponse response;
    while (reader->Read(&response)) {
      timers.Cancel(timer);
      // A task that it is in already is no news.
      if (Begin(response.task())) retry->Progress();
    }
    if (idle) retry->Progress();
    const grpc::Status status = reader->Finish();
    if (!status.ok()) return Explain(*channel, status);
    return Error(absl::StatusCode::kUnavailable, "STREAM_ENDED", "the server has ended the watch");
  }

  // True when the task is one that it was not in.
  bool Begin(const Task& task) {
    absl::string_view id = task.name();
    if (!absl::ConsumePrefix(&id, "tasks/") || !IsTaskId(id)) return false;
    std::erase_if(tasks_, [](auto& item) {
      if (!item.second->done) return false;
      item.second->thread.join();
      return true;
    });
    if (tasks_.count(task.name()) > 0) return false;
    if (tasks_.size() >= kMaxTasks) {
      const absl::Status full = Error(absl::StatusCode::kResourceExhausted, "TOO_MANY_TASKS",
                                      absl::StrCat("this device is in ", kMaxTasks, " tasks already"));
      announce_(event::Failed{task.name(), full});
      return false;
    }
    auto& running = tasks_[task.name()];
    running = std::make_unique<Running>();
    running->thread = std::thread([this, id = std::string(id), running = running.get()] {
      RunTask(id);
      running->done = true;
    });
    return true;
  }

  const std::string& AddressOf(const keys::AudienceKey& key) const {
    return options_.server.empty() ? key.address : options_.server;
  }

  // One task, until it has ended; what keeps it from going on may pass.
  void RunTask(const std::string& id) {
    Backoff pauses(kMinTryAgain, kMaxTryAgain);
    std::string announced;
    while (!cancellation_->cancelled()) {
      const CredentialPtr used = credential();
      const absl::StatusOr<Outcome> outcome = RunSession(*used, id);
      if (outcome.ok() || cancellation_->cancelled()) return;
      // The server names the task again if it has come back.
      const std::string reason = Reason(outcome.status());
      if (reason == "TASK_ENDED" || reason == "TASK_NOT_FOUND") return;
      if (used != credential()) continue;
      const absl::Duration pause = pauses.Next();
      if (std::exchange(announced, reason) != reason) {
        const absl::Status& why = outcome.status();
        const std::string again = absl::FormatTime("%H:%M:%S", options_.clock->Now() + pause, absl::LocalTimeZone());
        const absl::Status shown = Error(why.code(), reason, absl::StrCat(why.message(), "; looking again at ", again));
        announce_(event::Failed{absl::StrCat("tasks/", id), shown});
      }
      cancellation_->Sleep(pause).IgnoreError();
    }
  }

  absl::StatusOr<Outcome> RunSession(const keys::Credential& credential, const std::string& id) {
    ASSIGN_OR_RETURN(const keys::AudienceKey* const key, credential.KeyFor(keys::kTaskd));
    JoinCredentials join;
    join.task = id;
    join.client = credential.subject;
    join.address = key->address;
    join.identity = key->identity;
    join.secret = key->secret.Clone();
    join.not_after = credential.not_after;
    join.device = true;
    join.follow = true;
    TaskSession session(&options_, std::move(join), TargetOf(options_, id), announce_, cancellation_);
    return session.Run();
  }

  // Its credential is in credential_.
  DeviceOptions options_;
  Mutex observer_mutex_;
  const Announcer announce_;
  Cancellation* const cancellation_;
  // Used by the thread that watches alone.
  std::map<std::string, std::unique_ptr<Running>> tasks_;
  std::vector<std::thread> resuming_;
  mutable Mutex credential_mutex_;
  CredentialPtr credential_ ABSL_GUARDED_BY(credential_mutex_);
  // Used on the thread of renewals_ alone.
  Backoff renewal_pauses_{kMinRenewalPause, kMaxRenewalPause};
  // Stops before what it calls goes.
  TimerQueue renewals_;
};

}  // namespace

absl::Status RunDevice(DeviceOptions options, Observer* observer) {
  RETURN_IF_ERROR(CheckCredential(options.credential));
  RETURN_IF_ERROR(CheckOptions(options));
  // The sessions' own: they end with the caller's, or with their device.
  Cancellation cancellation;
  std::optional<Cancellation::Listener> on_cancel;
  if (options.cancellation != nullptr) {
    on_cancel.emplace(options.cancellation, [&cancellation] { cancellation.Cancel(); });
  }
  Device device(std::move(options), observer, &cancellation);
  return device.Run();
}

}  // namespace parley::agent
