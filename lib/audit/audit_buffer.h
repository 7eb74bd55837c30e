// Takes audit events at once, and passes them on in batches, in their order, until each has been taken.
//
// Guarantees: Record does not block on the sink. At most `capacity` events wait. When the buffer is full, refusals
// ("rpc.refused") make way for everything else, so that nobody can push a key operation out of the log by being refused
// often. The buffer counts what it drops, and records the number as "audit.dropped" once there is room. Refusals that
// differ in their time alone are recorded once, and after a minute once more with their number, so that a caller that
// goes on cannot fill the log. Events that wait are lost with the process: a service that must not act unrecorded
// appends in its own transaction instead.
//
// Threads: all methods may be called from any thread. The buffer has one thread of its own.
#ifndef PARLEY_LIB_AUDIT_AUDIT_BUFFER_H_
#define PARLEY_LIB_AUDIT_AUDIT_BUFFER_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "lib/audit/audit_log.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"

namespace parley::audit {

class AuditBuffer final : public audit::AuditLog {
 public:
  // Takes a batch of at most kBatch events. Runs on the buffer's thread and may block. After an error the same batch
  // comes again, unless the error is INVALID_ARGUMENT.
  using Sink = std::function<absl::Status(const std::vector<key::v1::AuditEvent>& events)>;
  static constexpr size_t kBatch = 1000;

  struct Options {
    // The service's name, which every event carries.
    std::string service;
    Sink sink;
    // The default is a few megabytes: minutes of a busy service.
    size_t capacity = 10'000;
    // How long the buffer waits after an error of the sink.
    absl::Duration retry = absl::Seconds(1);
    // How long refusals of one kind are counted before their number is recorded.
    absl::Duration refusal_window = absl::Minutes(1);
    // Gives the events their times. Must outlive the buffer.
    Clock* clock = Clock::System();
  };

  explicit AuditBuffer(Options options);
  // Drops the events that wait.
  ~AuditBuffer() override;

  void Record(key::v1::AuditEvent event) override;
  // Waits until every event has been taken, for at most `timeout`. Returns DEADLINE_EXCEEDED, with the number that
  // still wait.
  absl::Status Drain(absl::Duration timeout);

 private:
  // Refusals of one actor, method and reason since the first of them was recorded.
  struct Refused {
    key::v1::AuditEvent first;
    absl::Time end;
    int64_t more = 0;
  };
  void Run();
  void Push(key::v1::AuditEvent event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Returns whether the event is counted with a refusal that was recorded before.
  bool CountRefusal(const key::v1::AuditEvent& event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Records the numbers of the refusals whose window ends by then.
  void EndWindows(absl::Time by) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Time NextWindow() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool MakeRoom(const key::v1::AuditEvent& event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Send() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Pause() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  Mutex mutex_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  // Drain has been called, so the present pause is cut short.
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<key::v1::AuditEvent> events_ ABSL_GUARDED_BY(mutex_);
  int64_t dropped_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::string, Refused> refused_ ABSL_GUARDED_BY(mutex_);
  // How many events at the head of events_ the sink has now.
  size_t sending_ ABSL_GUARDED_BY(mutex_) = 0;
  std::thread thread_;
};

// Fills in the id, the time and the service of an event, cuts its texts to what keyd takes and makes them printable
// ASCII.
void CompleteEvent(absl::string_view service, absl::Time now, key::v1::AuditEvent* event);

}  // namespace parley::audit

#endif  // PARLEY_LIB_AUDIT_AUDIT_BUFFER_H_
