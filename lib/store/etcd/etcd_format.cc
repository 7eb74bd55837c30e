#include "lib/store/etcd/etcd_format.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "lib/base/error.h"
#include "lib/store/refusals.h"
#include "lib/transport/awaited.h"

namespace parley::store {
namespace {

using transport::AwaitCall;
using Effect = EtcdCluster::Effect;

// The second one has a line more, for a store that was filled from elsewhere. Programs that know the first alone would
// mistake its revisions, and refuse it.
constexpr int kFirstFormat = 1;
constexpr int kNewestFormat = 2;

constexpr char kWhole[] = "store";
constexpr char kUnfinished[] = "copy";

// The format entry is text, so that a person who finds it knows whose it is.
struct Format {
  std::string state = kWhole;
  int version = kFirstFormat;
  StoreOwner owner;
  RevisionSpace revisions;
};

std::string ToText(const Format& format) {
  std::string text = absl::StrCat("parley ", format.state, " ", format.version, "\nservice ", format.owner.service,
                                  "\norganisation ", format.owner.organisation, "\n");
  if (format.version > kFirstFormat) {
    absl::StrAppend(&text, "revisions ", format.revisions.offset, " ", format.revisions.first, "\n");
  }
  return text;
}

absl::StatusOr<Format> ParseFormat(absl::string_view text, absl::string_view key) {
  Format format;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    const std::pair<absl::string_view, absl::string_view> field = absl::StrSplit(line, absl::MaxSplits(' ', 1));
    const std::vector<absl::string_view> words = absl::StrSplit(field.second, ' ');
    if (field.first == "parley") {
      format.state = std::string(words[0]);
      if (words.size() != 2 || !absl::SimpleAtoi(words[1], &format.version)) break;
    }
    if (field.first == "service") format.owner.service = std::string(field.second);
    if (field.first == "organisation") format.owner.organisation = std::string(field.second);
    if (field.first == "revisions" && words.size() == 2) {
      (void)absl::SimpleAtoi(words[0], &format.revisions.offset);
      (void)absl::SimpleAtoi(words[1], &format.revisions.first);
    }
  }
  if (format.version > kNewestFormat) {
    return FailedPrecondition("STORE_NEWER", "the store in etcd has format ", format.version,
                              " and this program knows ", kNewestFormat,
                              "; run the version of Parley that wrote it, or a newer one");
  }
  if (text != ToText(format) || (format.state != kWhole && format.state != kUnfinished)) {
    return FailedPrecondition("STORE_FOREIGN", "etcd's key ", key, " is not Parley's; choose another prefix");
  }
  return format;
}

absl::Status Foreign(absl::string_view root, absl::string_view whose) {
  return FailedPrecondition("STORE_FOREIGN", "what etcd has under ", root, " is ", whose,
                            "; choose another prefix, which no other organisation or program uses");
}

absl::StatusOr<etcdserverpb::RangeResponse> Read(EtcdCluster* cluster, const std::string& key, const std::string& end,
                                                 int64_t revision) {
  etcdserverpb::RangeRequest request;
  request.set_key(key);
  request.set_range_end(end);
  request.set_revision(revision);
  request.set_limit(1);
  etcdserverpb::RangeResponse response;
  RETURN_IF_ERROR(cluster->Call(Effect::kRepeatable, revision, [&](EtcdMember* member, grpc::ClientContext* context) {
    return AwaitCall([&](auto done) { member->kv()->async()->Range(context, &request, &response, std::move(done)); });
  }));
  return response;
}

// Writes the format on the condition that `compare` holds. Returns etcd's revision of the entry.
absl::StatusOr<int64_t> Write(EtcdCluster* cluster, const std::string& key, const Format& format,
                              etcdserverpb::Compare compare) {
  etcdserverpb::TxnRequest request;
  *request.add_compare() = std::move(compare);
  etcdserverpb::PutRequest* const put = request.add_success()->mutable_request_put();
  put->set_key(key);
  put->set_value(ToText(format));
  etcdserverpb::TxnResponse response;
  RETURN_IF_ERROR(cluster->Call(Effect::kRepeatable, 0, [&](EtcdMember* member, grpc::ClientContext* context) {
    return AwaitCall([&](auto done) { member->kv()->async()->Txn(context, &request, &response, std::move(done)); });
  }));
  if (response.succeeded()) return response.header().revision();
  return Error(absl::StatusCode::kAborted, "CONFLICT", "another process is making the same store; try again");
}

// What stands in a key space.
struct Found {
  // Nothing if the key space is empty.
  std::optional<Format> format;
  // etcd's revisions: those of the entry, 0 for none, and the newest one.
  int64_t mod_revision = 0;
  int64_t create_revision = 0;
  int64_t newest = 0;
};

absl::StatusOr<Found> Find(EtcdCluster* cluster, const KeySpace& keys) {
  const std::string key = keys.format_key();
  ASSIGN_OR_RETURN(const etcdserverpb::RangeResponse read, Read(cluster, key, "", 0));
  Found found;
  found.newest = read.header().revision();
  if (read.kvs().empty()) {
    // At the same revision: another replica may be making the store at this moment.
    ASSIGN_OR_RETURN(const etcdserverpb::RangeResponse others,
                     Read(cluster, keys.root(), KeyRange::Prefix(keys.root()).end, found.newest));
    if (!others.kvs().empty()) return Foreign(keys.root(), "no store of Parley's");
    return found;
  }
  found.mod_revision = read.kvs(0).mod_revision();
  found.create_revision = read.kvs(0).create_revision();
  ASSIGN_OR_RETURN(found.format, ParseFormat(read.kvs(0).value(), key));
  return found;
}

// Returns a condition that holds as long as the key space is as it was found.
etcdserverpb::Compare Unchanged(const KeySpace& keys, const Found& found) {
  etcdserverpb::Compare compare;
  if (found.format.has_value()) {
    compare.set_key(keys.format_key());
    compare.set_target(etcdserverpb::Compare::MOD);
    compare.set_mod_revision(found.mod_revision);
    return compare;
  }
  // No key of the whole range exists, not even one that came since.
  compare.set_key(keys.root());
  compare.set_range_end(KeyRange::Prefix(keys.root()).end);
  compare.set_target(etcdserverpb::Compare::CREATE);
  compare.set_create_revision(0);
  return compare;
}

absl::Status CompareOwner(const KeySpace& keys, const StoreOwner& found, const StoreOwner& wanted) {
  if (found.service != wanted.service) return Foreign(keys.root(), absl::StrCat("a store of ", found.service));
  if (found.organisation.empty() || wanted.organisation.empty() || found.organisation == wanted.organisation) {
    return absl::OkStatus();
  }
  return Foreign(keys.root(), absl::StrCat("the store of the organisation ", found.organisation));
}

absl::Status CheckVersion(const std::string& version) {
  const std::vector<absl::string_view> parts = absl::StrSplit(version, '.');
  int major = 0, minor = 0;
  const bool readable = parts.size() >= 2 && absl::SimpleAtoi(parts[0], &major) && absl::SimpleAtoi(parts[1], &minor);
  if (readable && std::make_pair(major, minor) >= std::make_pair(3, 4)) return absl::OkStatus();
  return FailedPrecondition("STORE_TOO_OLD", "etcd has version ", version,
                            ", and Parley needs 3.4 or newer; upgrade it");
}

}  // namespace

absl::Status CheckHealth(EtcdCluster* cluster) {
  ASSIGN_OR_RETURN(const etcdserverpb::StatusResponse about, cluster->GetStatus());
  RETURN_IF_ERROR(CheckVersion(about.version()));
  const etcdserverpb::AlarmRequest request;
  etcdserverpb::AlarmResponse response;
  RETURN_IF_ERROR(cluster->Call(Effect::kRepeatable, 0, [&](EtcdMember* member, grpc::ClientContext* context) {
    return AwaitCall(
        [&](auto done) { member->maintenance()->async()->Alarm(context, &request, &response, std::move(done)); });
  }));
  for (const etcdserverpb::AlarmMember& alarm : response.alarms()) {
    if (alarm.alarm() == etcdserverpb::NOSPACE) {
      return Error(absl::StatusCode::kResourceExhausted, "DISK_FULL",
                   "etcd has raised the alarm NOSPACE; compact and defragment it or raise --quota-backend-bytes, and "
                   "then disarm the alarm (docs/operations.md)");
    }
    return DataLoss("STORE_DAMAGED", "etcd has raised the alarm ", etcdserverpb::AlarmType_Name(alarm.alarm()),
                    "; replace the member whose data are damaged, and then disarm the alarm");
  }
  return absl::OkStatus();
}

absl::StatusOr<KeySpaceFormat> ReadKeySpace(EtcdCluster* cluster, const KeySpace& keys, const StoreOwner& owner) {
  ASSIGN_OR_RETURN(const Found found, Find(cluster, keys));
  if (!found.format.has_value()) return StoreAbsent(keys.root());
  RETURN_IF_ERROR(CompareOwner(keys, found.format->owner, owner));
  if (found.format->state == kUnfinished) return StoreUnfinished(keys.root());
  return KeySpaceFormat{found.format->owner, found.format->revisions, found.mod_revision, found.create_revision};
}

absl::StatusOr<KeySpaceFormat> ClaimKeySpace(EtcdCluster* cluster, const KeySpace& keys, const StoreOwner& owner) {
  absl::StatusOr<KeySpaceFormat> read = ReadKeySpace(cluster, keys, owner);
  const bool absent = Reason(read.status()) == "STORE_ABSENT";
  if (!absent && (!read.ok() || owner.organisation.empty() || !read->owner.organisation.empty())) return read;
  Found found;
  Format format;
  format.owner = owner;
  if (!absent) {
    found.format = format;
    found.mod_revision = read->mod_revision;
    format.revisions = read->revisions;
    if (read->revisions.first > 0) format.version = kNewestFormat;
  }
  ASSIGN_OR_RETURN(const int64_t written, Write(cluster, keys.format_key(), format, Unchanged(keys, found)));
  return KeySpaceFormat{format.owner, format.revisions, written, absent ? written : read->create_revision};
}

absl::StatusOr<KeySpaceFormat> BeginKeySpace(EtcdCluster* cluster, const KeySpace& keys, const StoreOwner& owner,
                                             int64_t after) {
  ASSIGN_OR_RETURN(const Found found, Find(cluster, keys));
  if (found.format.has_value()) {
    RETURN_IF_ERROR(CompareOwner(keys, found.format->owner, owner));
    if (found.format->state != kUnfinished) return StoreNotEmpty(keys.root());
  }
  Format format;
  format.state = kUnfinished;
  format.version = kNewestFormat;
  format.owner = owner;
  format.revisions.offset = std::max<int64_t>(0, after + 1 - found.newest);
  format.revisions.first = format.revisions.FromEtcd(found.newest);
  ASSIGN_OR_RETURN(const int64_t written, Write(cluster, keys.format_key(), format, Unchanged(keys, found)));
  return KeySpaceFormat{format.owner, format.revisions, written, found.format ? found.create_revision : written};
}

absl::Status FinishKeySpace(EtcdCluster* cluster, const KeySpace& keys, int64_t begun) {
  ASSIGN_OR_RETURN(Found found, Find(cluster, keys));
  if (!found.format.has_value() || found.mod_revision != begun || found.format->state != kUnfinished) {
    return Error(absl::StatusCode::kAborted, "CONFLICT", "another copy to ", keys.root(),
                 " was begun meanwhile; run only one");
  }
  found.format->state = kWhole;
  return Write(cluster, keys.format_key(), *found.format, Unchanged(keys, found)).status();
}

}  // namespace parley::store
