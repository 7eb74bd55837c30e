#include "services/taskd/artifacts/revision_stream.h"

#include <utility>

#include "lib/audit/audit_log.h"
#include "lib/base/error.h"
#include "services/taskd/artifacts/payloads.h"
#include "services/taskd/domain/names.h"
#include "services/taskd/domain/validation.h"

namespace parley::taskd {

RevisionStream::RevisionStream(const TaskdParts* parts, rpc::Caller caller,
                               const task::v1::FetchRevisionChunksRequest& request)
    : ChunkStream(parts, std::move(caller), request.chunks()), name_(request.name()) {}

absl::Status RevisionStream::Start() {
  ASSIGN_OR_RETURN(const RevisionId id, ParseRevisionName(name_));
  RETURN_IF_ERROR(ValidateFetch(chunks()));
  ASSIGN_OR_RETURN(const auto task, parts()->store->GetTask(id.task));
  RETURN_IF_ERROR(CheckPublished(task.value.task(), id.revision));
  // Not from the cache, which is for what many clients are offered.
  ASSIGN_OR_RETURN(const auto revision, parts()->store->GetRevision(id.task, id.revision));
  RETURN_IF_ERROR(CheckChunksOf(*revision, id.revision));
  RecordAction(parts()->audit, caller().Name(), "task.revision_fetched", name_);
  return absl::OkStatus();
}

}  // namespace parley::taskd
