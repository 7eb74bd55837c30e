// What a request must be before it is looked at. Each function: INVALID_ARGUMENT with a reason and one sentence.
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
// Everything but the payload. A second reason code, RESOURCE_EXHAUSTED (PAYLOAD_TOO_LARGE), for inline files.
absl::Status ValidateCreateTask(const task::v1::CreateTaskRequest& request, absl::Time now);
absl::Status ValidateInline(const task::v1::InlinePayload& payload);
absl::Status ValidateJoin(const task::v1::JoinRequest& request);
absl::Status ValidateNegotiate(const task::v1::NegotiateRequest& request);
absl::Status ValidateConfirm(const task::v1::ConfirmRequest& request);
absl::Status ValidateFindMissing(const task::v1::FindMissingChunksRequest& request);
absl::Status ValidateFetch(const task::v1::FetchChunksRequest& request);
absl::Status ValidateWatchAssignments(const task::v1::WatchAssignmentsRequest& request);

// The leases given, with the defaults for those unset; each from 1 second to 7 days.
absl::StatusOr<task::v1::Leases> CompleteLeases(const task::v1::Leases& leases);
// A join key's time from now: `ttl` when set, else up to the task's end.
absl::StatusOr<absl::Time> JoinKeyExpiry(const google::protobuf::Duration* ttl, absl::Time now, absl::Time task_end);
// 100 for 0.
absl::StatusOr<int> PageSize(int page_size);

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_DOMAIN_VALIDATION_H_
