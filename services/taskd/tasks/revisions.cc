#include "services/taskd/tasks/revisions.h"

#include <algorithm>
#include <map>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/rpc/page.h"
#include "services/taskd/domain/names.h"
#include "services/taskd/domain/validation.h"
#include "services/taskd/store/keys.h"

namespace parley::taskd {
namespace {

// A page ends after so many manifests, which are up to 3 MiB each. Only revisions of earlier versions need them.
constexpr int kMostManifestsPerPage = 50;

// The manifest is believed as far as the store is: its signature is for those who install it.
absl::StatusOr<task::v1::Manifest> ParseManifest(const std::string& name, const task::v1::SignedManifest& signed_by) {
  task::v1::Manifest manifest;
  if (manifest.ParseFromString(signed_by.manifest())) return manifest;
  return Error(absl::StatusCode::kDataLoss, "RECORD_DAMAGED",
               absl::StrCat("the manifest of ", name, " can not be read; restore the data folder from a backup"));
}

void FillFrom(const RevisionRecord& record, task::v1::Revision* revision) {
  revision->set_author(record.author());
  *revision->mutable_create_time() = record.create_time();
  revision->set_message(record.message());
  revision->set_payload_digest(record.payload_digest());
  revision->set_payload_files(record.payload_files());
  revision->set_payload_bytes(record.payload_bytes());
}

void FillFrom(const task::v1::Manifest& manifest, task::v1::Revision* revision) {
  *revision->mutable_create_time() = manifest.create_time();
  revision->set_payload_digest(manifest.digest());
  revision->set_payload_files(manifest.files_size());
  revision->set_payload_bytes(manifest.size());
}

// Returns the revision that comes after the one of the token; `newest` for an empty token.
absl::StatusOr<int64_t> FirstOfPage(const std::string& task, const std::string& token, int64_t newest) {
  const KeyRange range = RevisionRange(task);
  std::string begin = range.begin;
  RETURN_IF_ERROR(rpc::ApplyPageToken(token, range.end, &begin));
  if (begin == range.begin) return newest;
  begin.pop_back();
  int64_t last = 0;
  if (absl::SimpleAtoi(LastPart(begin), &last) && last >= 1) return std::min(newest, last - 1);
  return InvalidArgument("PAGE_TOKEN", "page_token is not one that this list gave; begin again without it");
}

}  // namespace

absl::Status Revisions::Add(const std::string& task, int64_t revision, const RevisionRecord* record, int* manifests,
                            task::v1::ListRevisionsResponse* response) const {
  task::v1::Revision shown;
  shown.set_name(RevisionName(task, revision));
  shown.set_revision(revision);
  if (record != nullptr) {
    FillFrom(*record, &shown);
  } else {
    ++*manifests;
    ASSIGN_OR_RETURN(const auto read, parts_->store->GetRevision(task, revision));
    ASSIGN_OR_RETURN(const task::v1::Manifest manifest, ParseManifest(shown.name(), read->signed_manifest));
    FillFrom(manifest, &shown);
  }
  *response->add_revisions() = std::move(shown);
  return absl::OkStatus();
}

absl::Status Revisions::List(const task::v1::ListRevisionsRequest& request,
                             task::v1::ListRevisionsResponse* response) const {
  ASSIGN_OR_RETURN(const std::string id, ParseTaskName(request.parent()));
  ASSIGN_OR_RETURN(const int page_size, PageSize(request.page_size()));
  ASSIGN_OR_RETURN(const auto task, parts_->store->GetTask(id));
  ASSIGN_OR_RETURN(const int64_t first, FirstOfPage(id, request.page_token(), task.value.task().revision()));
  const int64_t last = std::max<int64_t>(1, first - page_size + 1);
  if (first < last) return absl::OkStatus();
  ASSIGN_OR_RETURN(const store::Page page,
                   parts_->store->store()->List({RevisionKey(id, last), RevisionKey(id, first + 1)}));
  std::map<std::string, RevisionRecord> records;
  for (const store::Entry& entry : page.entries) {
    RETURN_IF_ERROR(ParseRecord(entry.key, entry.value, &records[entry.key]));
  }
  int manifests = 0;
  int64_t revision = first;
  for (; revision >= last && manifests < kMostManifestsPerPage; --revision) {
    const auto record = records.find(RevisionKey(id, revision));
    RETURN_IF_ERROR(Add(id, revision, record == records.end() ? nullptr : &record->second, &manifests, response));
  }
  if (revision >= 1) response->set_next_page_token(rpc::PageToken(RevisionKey(id, revision + 1)));
  return absl::OkStatus();
}

absl::Status Revisions::Get(const task::v1::GetRevisionRequest& request, task::v1::Revision* response) const {
  ASSIGN_OR_RETURN(const RevisionId id, ParseRevisionName(request.name()));
  ASSIGN_OR_RETURN(const auto task, parts_->store->GetTask(id.task));
  RETURN_IF_ERROR(CheckPublished(task.value.task(), id.revision));
  ASSIGN_OR_RETURN(const auto read, parts_->store->GetRevision(id.task, id.revision));
  ASSIGN_OR_RETURN(const auto record, parts_->store->FindRevisionRecord(id.task, id.revision));
  response->set_name(request.name());
  response->set_revision(id.revision);
  if (record.has_value()) {
    FillFrom(record->value, response);
  } else {
    ASSIGN_OR_RETURN(const task::v1::Manifest manifest, ParseManifest(request.name(), read->signed_manifest));
    FillFrom(manifest, response);
  }
  *response->mutable_signed_manifest() = read->signed_manifest;
  return absl::OkStatus();
}

void RecordRevision(const rpc::Caller& caller, const Payload& payload, absl::Time now, absl::string_view message,
                    store::Transaction* transaction) {
  const task::v1::Manifest& manifest = payload.manifest;
  RevisionRecord record;
  record.set_author(caller.subject());
  *record.mutable_create_time() = ToProto(now);
  record.set_message(std::string(message));
  record.set_payload_digest(manifest.digest());
  record.set_payload_files(manifest.files_size());
  record.set_payload_bytes(manifest.size());
  transaction->Set(RevisionKey(*ParseTaskName(manifest.task()), manifest.revision()), record.SerializeAsString());
}

}  // namespace parley::taskd
