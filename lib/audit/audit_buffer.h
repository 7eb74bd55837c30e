// An audit log that takes events at once and passes them on in batches, in order, until they have been taken.
//
// Guarantees: Record does not block on the sink. At most `capacity` events wait; when they do, refusals ("rpc.refused")
// make way for everything else, so that nobody can push a key operation out of the log by being refused often. What
// was dropped is counted, and recorded as "audit.dropped" once there is room. Refusals that differ in their time alone
// are one event, and after a minute one more with their number, so that a caller who goes on cannot fill the log. What
// waits is lost with the process: a service that must not act unrecorded appends in its own transaction instead.
//
// Threads: all methods may be called from any thread; one of its own.
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
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/rpc/audit.h"

namespace parley::audit {

class AuditBuffer final : public rpc::AuditLog {
 public:
  // Takes a batch, at most kBatch events. After an error the same batch comes again, unless it is INVALID_ARGUMENT.
  // On the buffer's thread; may block.
  using Sink = std::function<absl::Status(const std::vector<key::v1::AuditEvent>& events)>;
  static constexpr size_t kBatch = 1000;

  struct Options {
    // Stands in every event.
    std::string service;
    Sink sink;
    // A few megabytes, and minutes of a busy service.
    size_t capacity = 10'000;
    // Pause after an error of the sink.
    absl::Duration retry = absl::Seconds(1);
    // For so long refusals of one kind are counted.
    absl::Duration refusal_window = absl::Minutes(1);
    // For the events' times. Must outlive the buffer.
    Clock* clock = Clock::System();
  };

  explicit AuditBuffer(Options options);
  // Drops what waits.
  ~AuditBuffer() override;

  void Record(key::v1::AuditEvent event) override;
  // Waits until everything has been taken, at most this long. DEADLINE_EXCEEDED, with how many wait.
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
  // True when it is counted with one that was recorded before.
  bool CountRefusal(const key::v1::AuditEvent& event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Records the numbers of those whose window ends by then.
  void EndWindows(absl::Time by) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Time NextWindow() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool MakeRoom(const key::v1::AuditEvent& event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Send() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Pause() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  Mutex mutex_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  // Someone has begun to wait for the end: the pause under way is cut short.
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<key::v1::AuditEvent> events_ ABSL_GUARDED_BY(mutex_);
  int64_t dropped_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::string, Refused> refused_ ABSL_GUARDED_BY(mutex_);
  // The batch at the head of events_ that the sink has now.
  size_t sending_ ABSL_GUARDED_BY(mutex_) = 0;
  std::thread thread_;
};

// Fills what every event needs: id, time, service; cuts texts to what keyd takes and makes them printable ASCII.
void CompleteEvent(absl::string_view service, absl::Time now, key::v1::AuditEvent* event);

}  // namespace parley::audit

#endif  // PARLEY_LIB_AUDIT_AUDIT_BUFFER_H_
