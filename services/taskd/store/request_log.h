// The requests that carry an id: one that is repeated within 24 hours is answered like the first time, and does
// nothing.
//
// Threads: all methods may be called from any thread; they block on the store.
#ifndef PARLEY_SERVICES_TASKD_STORE_REQUEST_LOG_H_
#define PARLEY_SERVICES_TASKD_STORE_REQUEST_LOG_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"
#include "lib/rpc/gate.h"
#include "services/taskd/store/task_store.h"

namespace parley::taskd {

class RequestLog {
 public:
  // A request under way. `record` is what it will have done.
  struct Request {
    std::string id_hash;
    RequestRecord record;
    // What the record is stored under, from the first Record on.
    store::LeaseId lease = 0;
  };

  // `store` must outlive this.
  explicit RequestLog(const TaskStore* store) : store_(store) {}

  // Begins a request. Returns INVALID_ARGUMENT for an id that is not a UUID.
  absl::StatusOr<Request> Begin(const rpc::Caller& caller, absl::string_view method, absl::string_view request_id,
                                const google::protobuf::Message& message) const;
  // Returns what the request did the first time, or no value if it was not made before. Returns FAILED_PRECONDITION
  // (REQUEST_ID_REUSED) if it was another request.
  absl::StatusOr<std::optional<RequestRecord>> FindDone(const Request& request) const;
  // Makes a commit the one that carries the request out: it fails if another has. After a conflict it may be called for
  // the next commit.
  absl::Status Record(Request* request, store::Transaction* transaction) const;

 private:
  const TaskStore* const store_;
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_STORE_REQUEST_LOG_H_
