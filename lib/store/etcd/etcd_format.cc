#include "lib/store/etcd/etcd_format.h"

#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "lib/base/error.h"

namespace parley::store {
namespace {

using Effect = EtcdCluster::Effect;

constexpr int kFormat = 1;

// The format entry is text of three lines, so that a person who finds it knows whose it is.
struct Format {
  int version = kFormat;
  std::string service;
  std::string organisation;
};

std::string ToText(const Format& format) {
  return absl::StrCat("parley store ", format.version, "\nservice ", format.service, "\norganisation ",
                      format.organisation, "\n");
}

absl::StatusOr<Format> ParseFormat(absl::string_view text, absl::string_view key) {
  Format format;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    const std::pair<absl::string_view, absl::string_view> field = absl::StrSplit(line, absl::MaxSplits(' ', 1));
    if (field.first == "parley") {
      const std::vector<absl::string_view> words = absl::StrSplit(field.second, ' ');
      if (words.size() != 2 || !absl::SimpleAtoi(words[1], &format.version)) break;
    }
    if (field.first == "service") format.service = std::string(field.second);
    if (field.first == "organisation") format.organisation = std::string(field.second);
  }
  if (format.version > kFormat) {
    return FailedPrecondition("STORE_NEWER", "the store in etcd has format ", format.version,
                              " and this program knows ", kFormat,
                              "; run the version of Parley that wrote it, or a newer one");
  }
  if (text != ToText(format)) {
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
    return member->kv()->Range(context, request, &response);
  }));
  return response;
}

// Writes the format on the condition that `compare` holds.
absl::Status Write(EtcdCluster* cluster, const std::string& key, const Format& format, etcdserverpb::Compare compare) {
  etcdserverpb::TxnRequest request;
  *request.add_compare() = std::move(compare);
  etcdserverpb::PutRequest* const put = request.add_success()->mutable_request_put();
  put->set_key(key);
  put->set_value(ToText(format));
  etcdserverpb::TxnResponse response;
  RETURN_IF_ERROR(cluster->Call(Effect::kRepeatable, 0, [&](EtcdMember* member, grpc::ClientContext* context) {
    return member->kv()->Txn(context, request, &response);
  }));
  if (response.succeeded()) return absl::OkStatus();
  return Error(absl::StatusCode::kAborted, "CONFLICT", "another process is making the same store; try again");
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
  etcdserverpb::StatusResponse about;
  RETURN_IF_ERROR(cluster->Call(Effect::kRepeatable, 0, [&](EtcdMember* member, grpc::ClientContext* context) {
    return member->maintenance()->Status(context, etcdserverpb::StatusRequest(), &about);
  }));
  RETURN_IF_ERROR(CheckVersion(about.version()));
  etcdserverpb::AlarmResponse response;
  RETURN_IF_ERROR(cluster->Call(Effect::kRepeatable, 0, [&](EtcdMember* member, grpc::ClientContext* context) {
    return member->maintenance()->Alarm(context, etcdserverpb::AlarmRequest(), &response);
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

absl::Status ClaimKeySpace(EtcdCluster* cluster, const KeySpace& keys, const EtcdOptions& options) {
  const std::string key = keys.format_key();
  ASSIGN_OR_RETURN(const etcdserverpb::RangeResponse found, Read(cluster, key, "", 0));
  etcdserverpb::Compare unchanged;
  unchanged.set_key(key);
  if (found.kvs().empty()) {
    const std::string end = KeyRange::Prefix(keys.root()).end;
    // At the same revision: another replica may be making the store at this moment.
    ASSIGN_OR_RETURN(const etcdserverpb::RangeResponse others,
                     Read(cluster, keys.root(), end, found.header().revision()));
    if (!others.kvs().empty()) return Foreign(keys.root(), "no store of Parley's");
    // No key of the whole range exists, not even one that came since.
    unchanged.set_key(keys.root());
    unchanged.set_range_end(end);
    unchanged.set_target(etcdserverpb::Compare::CREATE);
    unchanged.set_create_revision(0);
    return Write(cluster, key, {kFormat, options.service, options.organisation}, std::move(unchanged));
  }
  ASSIGN_OR_RETURN(Format format, ParseFormat(found.kvs(0).value(), key));
  if (format.service != options.service) return Foreign(keys.root(), absl::StrCat("a store of ", format.service));
  if (options.organisation.empty() || format.organisation == options.organisation) return absl::OkStatus();
  if (!format.organisation.empty()) {
    return Foreign(keys.root(), absl::StrCat("the store of the organisation ", format.organisation));
  }
  format.organisation = options.organisation;
  unchanged.set_target(etcdserverpb::Compare::MOD);
  unchanged.set_mod_revision(found.kvs(0).mod_revision());
  return Write(cluster, key, format, std::move(unchanged));
}

}  // namespace parley::store
