// Checks requests before they are looked at. Each function returns INVALID_ARGUMENT with a reason and one sentence.
//
// Threads: pure functions.
#ifndef PARLEY_SERVICES_TASKD_DOMAIN_VALIDATION_H_
#define PARLEY_SERVICES_TASKD_DOMAIN_VALIDATION_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "parley/task/v1/artifact_service.pb.h"
#include "parley/task/v1/participation_service.pb.h"
#include "parley/task/v1/task_service.pb.h"

namespace parley::taskd {

inline constexpr absl::Duration kMinTaskTtl = absl::Minutes(1);
inline constexpr absl::Duration kMaxTtl = absl::Hours(24 * 366);
inline constexpr absl::Duration kDefaultTaskTtl = absl::Hours(24);
inline constexpr int64_t kMaxInlineBytes = 3 * 1024 * 1024;
inline constexpr int kMaxInlineFiles = 1000;
inline constexpr int kMaxChunksPerRequest = 20'000;
inline constexpr size_t kNonceBytes = 32;
inline constexpr size_t kDigestBytes = 32;
inline constexpr size_t kInstanceBytes = 16;

absl::Status ValidateRequestId(absl::string_view request_id);
// Checks everything but the payload. Inline files may also be RESOURCE_EXHAUSTED (PAYLOAD_TOO_LARGE).
absl::Status ValidateCreateTask(const task::v1::CreateTaskRequest& request, absl::Time now);
absl::Status ValidateInline(const task::v1::InlinePayload& payload);
absl::Status ValidateJoin(const task::v1::JoinRequest& request);
absl::Status ValidateNegotiate(const task::v1::NegotiateRequest& request);
absl::Status ValidateConfirm(const task::v1::ConfirmRequest& request);
absl::Status ValidateFindMissing(const task::v1::FindMissingChunksRequest& request);
absl::Status ValidateFetch(const google::protobuf::RepeatedPtrField<task::v1::FetchChunksRequest::Chunk>& chunks);
absl::Status ValidateWatchAssignments(const task::v1::WatchAssignmentsRequest& request);

// Returns the given leases, with the defaults for those that are unset; each must be from 1 second to 7 days.
absl::StatusOr<task::v1::Leases> CompleteLeases(const task::v1::Leases& leases);
// Returns when a join key that is made now ends: after `ttl` if it is set, or else with the task.
absl::StatusOr<absl::Time> JoinKeyExpiry(const google::protobuf::Duration* ttl, absl::Time now, absl::Time task_end);
// Checks the words of an operator for what it does.
absl::Status ValidateReason(absl::string_view reason);
// Checks what an author says of a revision.
absl::Status ValidateMessage(absl::string_view message);
// Returns 100 for 0.
absl::StatusOr<int> PageSize(int page_size);

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_DOMAIN_VALIDATION_H_
