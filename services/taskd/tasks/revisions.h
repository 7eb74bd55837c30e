// The revisions of tasks: who has published each, and what each installs.
//
// Each method is the RPC of its name, behind the gate, and returns the errors that the RPC names, or those of the
// store.
//
// Threads: all methods and functions may be called from any thread; they block on the store.
#ifndef PARLEY_SERVICES_TASKD_TASKS_REVISIONS_H_
#define PARLEY_SERVICES_TASKD_TASKS_REVISIONS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/rpc/gate.h"
#include "lib/store/store.h"
#include "parley/task/v1/revision.pb.h"
#include "parley/task/v1/task_service.pb.h"
#include "services/taskd/artifacts/payloads.h"
#include "services/taskd/participants/parts.h"

namespace parley::taskd {

class Revisions {
 public:
  // `parts` must outlive this.
  explicit Revisions(const TaskdParts* parts) : parts_(parts) {}

  absl::Status List(const task::v1::ListRevisionsRequest& request, task::v1::ListRevisionsResponse* response) const;
  absl::Status Get(const task::v1::GetRevisionRequest& request, task::v1::Revision* response) const;

 private:
  // Adds the revision of the record, or of its manifest without one. Counts the manifests that were read.
  absl::Status Add(const std::string& task, int64_t revision, const RevisionRecord* record, int* manifests,
                   task::v1::ListRevisionsResponse* response) const;

  const TaskdParts* const parts_;
};

// Adds to the commit that publishes a payload who has done so, and when.
void RecordRevision(const rpc::Caller& caller, const Payload& payload, absl::Time now, absl::string_view message,
                    store::Transaction* transaction);

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_TASKS_REVISIONS_H_
