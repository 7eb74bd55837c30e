#include "services/taskd/domain/validation.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/base/uuid.h"
#include "lib/keys/labels.h"
#include "lib/task/states.h"
#include "services/taskd/domain/names.h"

namespace parley::taskd {
namespace {

using google::protobuf::Map;
using task::v1::Leases;
using task::v1::NegotiateRequest;
using task::v1::Window;

constexpr size_t kMaxTextChars = 200;
constexpr size_t kMaxDetailBytes = 4096;
constexpr size_t kMaxReasonBytes = 64;
constexpr size_t kMaxReasonOfOperatorBytes = 800;
constexpr int kMaxWindows = 64;
constexpr int kMaxEncodings = 16;
constexpr absl::Duration kMaxLease = absl::Hours(24 * 7);

// Characters, not bytes: continuation bytes do not count.
size_t Chars(absl::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; });
}

absl::Status ValidateWindow(const Window& window) {
  if (!window.has_start_time() || !window.has_end_time() || ToTime(window.start_time()) >= ToTime(window.end_time())) {
    return InvalidArgument("WINDOW_MALFORMED", "a window needs a start_time and a later end_time");
  }
  return absl::OkStatus();
}

absl::Status ValidateText(absl::string_view text, size_t limit, absl::string_view what) {
  if (text.size() <= limit) return absl::OkStatus();
  return InvalidArgument("TEXT_TOO_LONG",
                         absl::StrCat(what, " has ", text.size(), " bytes, over the limit of ", limit));
}

absl::Status ValidateDigest(absl::string_view digest, absl::string_view what) {
  if (digest.size() == kDigestBytes) return absl::OkStatus();
  return InvalidArgument("DIGEST_MALFORMED", absl::StrCat(what, " must have 32 bytes"));
}

absl::Status ValidateHindrance(const task::v1::Hindrance& hindrance) {
  const absl::string_view code = hindrance.code();
  const auto fits = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; };
  if (code.empty() || code.size() > kMaxReasonBytes || !std::all_of(code.begin(), code.end(), fits)) {
    return InvalidArgument("HINDRANCE_CODE",
                           "the code of a hindrance must have 1 to 64 characters of a-z, 0-9 and '_'");
  }
  return ValidateText(hindrance.detail(), kMaxDetailBytes, "the detail of the hindrance");
}

// Checks what a client says of itself in a declaration or a request, and what one of an earlier version calls labels.
template <typename Message>
absl::Status ValidateFacts(const Message& message) {
  RETURN_IF_ERROR(keys::CheckSizes(message.labels(), "labels"));
  return keys::CheckSizes(message.facts(), "facts");
}

absl::Status ValidateDeclaration(const task::v1::Declaration& declaration) {
  RETURN_IF_ERROR(ValidateFacts(declaration));
  if (declaration.windows_size() > kMaxWindows)
    return InvalidArgument("TOO_MANY_WINDOWS", "over 64 windows are declared");
  for (const Window& window : declaration.windows()) RETURN_IF_ERROR(ValidateWindow(window));
  if (declaration.encodings_size() > kMaxEncodings)
    return InvalidArgument("TOO_MANY_ENCODINGS", "over 16 encodings are declared");
  for (const std::string& encoding : declaration.encodings()) {
    RETURN_IF_ERROR(ValidateText(encoding, kMaxReasonBytes, "an encoding"));
  }
  if (!declaration.installed_digest().empty() && declaration.installed_digest().size() != kDigestBytes) {
    return InvalidArgument("DIGEST_MALFORMED", "installed_digest must have 32 bytes, or none");
  }
  if (declaration.installed_revision() < 0 || declaration.free_bytes() < 0) {
    return InvalidArgument("NUMBER_NEGATIVE", "installed_revision and free_bytes can not be below 0");
  }
  if (!declaration.setup_digest().empty() && declaration.setup_digest().size() != kDigestBytes) {
    return InvalidArgument("DIGEST_MALFORMED", "setup_digest must have 32 bytes, or none");
  }
  if (!declaration.instance().empty() && declaration.instance().size() != kInstanceBytes) {
    return InvalidArgument("INSTANCE_MALFORMED", "instance must have 16 random bytes, or none");
  }
  if (declaration.has_hindrance()) RETURN_IF_ERROR(ValidateHindrance(declaration.hindrance()));
  return ValidateText(declaration.taken_over(), kMaxDetailBytes, "taken_over");
}

absl::Status ValidateProgress(const task::v1::Progress& progress) {
  // Whatever may be reported may be reported again.
  if (!task::MayReport(progress.state(), progress.state())) {
    return InvalidArgument("STATE_NOT_REPORTED", "that state is not one that a client reports");
  }
  if (progress.transferred_bytes() < 0)
    return InvalidArgument("NUMBER_NEGATIVE", "transferred_bytes can not be below 0");
  RETURN_IF_ERROR(ValidateText(progress.reason(), kMaxReasonBytes, "the reason"));
  return ValidateText(progress.detail(), kMaxDetailBytes, "the detail");
}

absl::Status ValidateDecline(const task::v1::Declination& decline) {
  const absl::string_view code = decline.code();
  if (code != "unsupported" && code != "policy" && code != "no_space" && code != "other") {
    return InvalidArgument("DECLINE_CODE", "the code of a declination is unsupported, policy, no_space or other");
  }
  return ValidateText(decline.detail(), kMaxDetailBytes, "the detail");
}

absl::StatusOr<google::protobuf::Duration> CompleteLease(bool set, const google::protobuf::Duration& lease,
                                                         absl::Duration fallback, absl::string_view name) {
  if (!set) return ToProto(fallback);
  const absl::Duration duration = ToDuration(lease);
  if (duration >= absl::Seconds(1) && duration <= kMaxLease) return lease;
  return InvalidArgument("LEASE_OUT_OF_RANGE", absl::StrCat("the ", name, " lease must be from 1 second to 7 days"));
}

absl::Status ValidateSelectors(const task::v1::CreateTaskRequest& request) {
  if (request.selector().contains(std::string(keys::kFactPrefix)) ||
      request.selector_any().contains(std::string(keys::kFactPrefix))) {
    return InvalidArgument("SELECTOR_MALFORMED", "\"fact:\" names no fact; write fact:os for the fact os");
  }
  RETURN_IF_ERROR(keys::CheckSizes(request.selector(), "selector keys"));
  Map<std::string, std::string> one;
  for (const auto& [key, any] : request.selector_any()) {
    if (any.values().empty() || any.values_size() > keys::kMaxLabels || request.selector().contains(key)) {
      return InvalidArgument("SELECTOR_MALFORMED",
                             "a key of selector_any needs 1 to 64 values, and can not stand in selector as well");
    }
    for (const std::string& value : any.values()) {
      one[key] = value;
      RETURN_IF_ERROR(keys::CheckSizes(one, "selector keys"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ValidateRequestId(absl::string_view request_id) {
  if (IsUuid(request_id)) return absl::OkStatus();
  return InvalidArgument(
      "REQUEST_ID_MALFORMED",
      "request_id must be a UUID such as 6f1b0a34-0c5e-4f0c-9f53-0f7c6c9a3a11; make one with uuidgen");
}

absl::Status ValidateCreateTask(const task::v1::CreateTaskRequest& request, absl::Time now) {
  RETURN_IF_ERROR(ValidateRequestId(request.request_id()));
  if (!request.task_id().empty() && !IsTaskId(request.task_id())) {
    return InvalidArgument("NAME_MALFORMED",
                           "task_id must have 3 to 32 characters of a-z, 0-9 and '-', a letter first and no '-' last");
  }
  if (Chars(request.title()) > kMaxTextChars) return InvalidArgument("TITLE_TOO_LONG", "title has over 200 characters");
  RETURN_IF_ERROR(ValidateMessage(request.message()));
  const absl::Duration ttl = request.has_ttl() ? ToDuration(request.ttl()) : kDefaultTaskTtl;
  if (ttl < kMinTaskTtl || ttl > kMaxTtl)
    return InvalidArgument("TTL_OUT_OF_RANGE", "ttl must be from 1 minute to 366 days");
  if (request.has_start_time() && ToTime(request.start_time()) >= now + ttl) {
    return InvalidArgument("START_TIME_OUT_OF_RANGE", "start_time must come before the task ends; give a longer ttl");
  }
  RETURN_IF_ERROR(ValidateSelectors(request));
  if (request.max_deferrals() < 0 || request.expected_clients() < 0 || request.max_failures() < 0 ||
      request.join_key_max_members() < 0) {
    return InvalidArgument("NUMBER_NEGATIVE",
                           "max_deferrals, expected_clients, max_failures and join_key_max_members can not be below 0");
  }
  RETURN_IF_ERROR(CompleteLeases(request.leases()).status());
  switch (request.payload_case()) {
    case task::v1::CreateTaskRequest::kFiles:
      return ValidateInline(request.files());
    case task::v1::CreateTaskRequest::kSignedManifest:
      if (request.task_id().empty()) {
        return InvalidArgument("TASK_ID_MISSING",
                               "task_id is required with signed_manifest, because the manifest names it");
      }
      if (request.verification_key().size() != 32) {
        return InvalidArgument("VERIFICATION_KEY_MALFORMED",
                               "verification_key must be an Ed25519 public key of 32 bytes");
      }
      return absl::OkStatus();
    default:
      return InvalidArgument("PAYLOAD_MISSING", "give either files or signed_manifest");
  }
}

absl::Status ValidateInline(const task::v1::InlinePayload& payload) {
  if (payload.files().empty()) return InvalidArgument("PAYLOAD_EMPTY", "files has no file; give at least one");
  if (payload.files_size() > kMaxInlineFiles) return InvalidArgument("TOO_MANY_FILES", "files has over 1000 files");
  int64_t bytes = 0;
  for (const task::v1::InlineFile& file : payload.files()) bytes += static_cast<int64_t>(file.content().size());
  if (bytes > kMaxInlineBytes) {
    return Error(absl::StatusCode::kResourceExhausted, "PAYLOAD_TOO_LARGE",
                 absl::StrCat("files has ", bytes,
                              " bytes, over the limit of 3 MiB; upload chunks and give a "
                              "signed_manifest, as `parley task create` does"));
  }
  return absl::OkStatus();
}

absl::Status ValidateJoin(const task::v1::JoinRequest& request) {
  if (!request.client().empty() && !IsClientId(request.client())) {
    return InvalidArgument(
        "CLIENT_MALFORMED",
        "client must have 1 to 64 characters of a-z, 0-9, '.', '_' and '-', a letter or digit first");
  }
  if (request.nonce().size() != kNonceBytes)
    return InvalidArgument("NONCE_MALFORMED", "nonce must have 32 random bytes");
  return ValidateFacts(request);
}

absl::Status ValidateNegotiate(const NegotiateRequest& request) {
  if (request.sequence() < 1)
    return InvalidArgument("SEQUENCE_MALFORMED", "sequence counts a stream's messages from 1");
  switch (request.message_case()) {
    case NegotiateRequest::kDeclare:
      return ValidateDeclaration(request.declare());
    case NegotiateRequest::kAccept:
      return absl::OkStatus();
    case NegotiateRequest::kDefer:
      return ValidateText(request.defer().reason(), kMaxDetailBytes, "the reason");
    case NegotiateRequest::kCounter:
      RETURN_IF_ERROR(ValidateWindow(request.counter().window()));
      return ValidateText(request.counter().reason(), kMaxDetailBytes, "the reason");
    case NegotiateRequest::kDecline:
      return ValidateDecline(request.decline());
    case NegotiateRequest::kProgress:
      return ValidateProgress(request.progress());
    case NegotiateRequest::MESSAGE_NOT_SET:
      return InvalidArgument("MESSAGE_MISSING", "a NegotiateRequest has no message");
  }
  return absl::OkStatus();
}

absl::Status ValidateConfirm(const task::v1::ConfirmRequest& request) {
  return ValidateDigest(request.installed_digest(), "installed_digest");
}

absl::Status ValidateFindMissing(const task::v1::FindMissingChunksRequest& request) {
  if (request.digests_size() > kMaxChunksPerRequest)
    return InvalidArgument("CHUNK_COUNT", "ask for at most 20,000 chunks");
  for (const std::string& digest : request.digests()) RETURN_IF_ERROR(ValidateDigest(digest, "a digest"));
  return absl::OkStatus();
}

absl::Status ValidateFetch(const google::protobuf::RepeatedPtrField<task::v1::FetchChunksRequest::Chunk>& chunks) {
  if (chunks.empty() || chunks.size() > kMaxChunksPerRequest) {
    return InvalidArgument("CHUNK_COUNT", "ask for 1 to 20,000 chunks");
  }
  for (const auto& chunk : chunks) {
    RETURN_IF_ERROR(ValidateDigest(chunk.digest(), "a digest"));
    if (chunk.offset() < 0) return Error(absl::StatusCode::kOutOfRange, "OFFSET_OUT_OF_RANGE", "an offset is below 0");
  }
  return absl::OkStatus();
}

absl::Status ValidateWatchAssignments(const task::v1::WatchAssignmentsRequest& request) {
  return ValidateFacts(request);
}

absl::StatusOr<Leases> CompleteLeases(const Leases& leases) {
  Leases complete;
  ASSIGN_OR_RETURN(*complete.mutable_answer(),
                   CompleteLease(leases.has_answer(), leases.answer(), absl::Hours(24), "answer"));
  ASSIGN_OR_RETURN(*complete.mutable_transfer(),
                   CompleteLease(leases.has_transfer(), leases.transfer(), absl::Minutes(10), "transfer"));
  ASSIGN_OR_RETURN(*complete.mutable_apply(),
                   CompleteLease(leases.has_apply(), leases.apply(), absl::Minutes(15), "apply"));
  ASSIGN_OR_RETURN(*complete.mutable_session(),
                   CompleteLease(leases.has_session(), leases.session(), absl::Minutes(1), "session"));
  return complete;
}

absl::StatusOr<absl::Time> JoinKeyExpiry(const google::protobuf::Duration* ttl, absl::Time now, absl::Time task_end) {
  if (ttl == nullptr) return task_end;
  const absl::Duration duration = ToDuration(*ttl);
  if (duration < absl::Seconds(1) || duration > kMaxTtl) {
    return InvalidArgument("TTL_OUT_OF_RANGE", "a join key's ttl must be from 1 second to 366 days");
  }
  if (now + duration > task_end) {
    return InvalidArgument("TTL_OUT_OF_RANGE", absl::StrCat("a join key can not outlive its task, which ends at ",
                                                            ShowTime(task_end), "; give a shorter ttl"));
  }
  return now + duration;
}

absl::Status ValidateReason(absl::string_view reason) {
  if (reason.size() <= kMaxReasonOfOperatorBytes) return absl::OkStatus();
  return InvalidArgument("TEXT_TOO_LONG", "reason has over 200 characters");
}

absl::Status ValidateMessage(absl::string_view message) {
  if (Chars(message) <= kMaxTextChars) return absl::OkStatus();
  return InvalidArgument("TEXT_TOO_LONG", "message has over 200 characters; shorten it");
}

absl::StatusOr<int> PageSize(int page_size) {
  if (page_size == 0) return 100;
  if (page_size < 1 || page_size > 1000) return InvalidArgument("PAGE_SIZE", "page_size must be from 1 to 1000");
  return page_size;
}

}  // namespace parley::taskd
