#include "services/keyd/store/device_names.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "services/keyd/store/store_layout.h"

namespace parley::keyd {
namespace {

using key::v1::CredentialRecord;
using records::DeviceName;

constexpr size_t kPage = 500;

absl::Status Unknown(absl::string_view name) {
  return Error(absl::StatusCode::kNotFound, "DEVICE_NAME_UNKNOWN",
               absl::StrCat("no device has a credential under the name ", name.substr(0, 64),
                            "; `parley key list` shows the subjects there are"));
}

std::string KeyOf(absl::string_view subject) { return absl::StrCat(kDeviceNamePrefix, subject); }

// Takes a credential away, and those that have expired.
void Drop(const std::string& credential, absl::Time now, DeviceName* name) {
  auto& credentials = *name->mutable_credentials();
  const auto is_over = [&](const DeviceName::Credential& each) {
    return each.name() == credential || ToTime(each.expire_time()) <= now;
  };
  credentials.erase(std::remove_if(credentials.begin(), credentials.end(), is_over), credentials.end());
}

}  // namespace

absl::StatusOr<DeviceNames::Name*> DeviceNames::Find(const std::string& subject) {
  const auto [at, added] = names_.try_emplace(subject);
  if (!added) return &at->second;
  absl::StatusOr<store::Entry> entry = store_->Get(KeyOf(subject));
  if (absl::IsNotFound(entry.status())) return &at->second;
  RETURN_IF_ERROR(entry.status());
  if (!at->second.record.ParseFromString(entry->value)) return Damaged(entry->key);
  at->second.before = *std::move(entry);
  return &at->second;
}

absl::Status DeviceNames::AddCredential(const CredentialRecord& record, const keys::Labels& labels) {
  ASSIGN_OR_RETURN(Name* const name, Find(record.subject()));
  // What has expired hands its labels on now, and is needed no more.
  Drop(record.name(), now_, &name->record);
  DeviceName::Credential* const added = name->record.add_credentials();
  added->set_name(record.name());
  *added->mutable_expire_time() = record.expire_time();
  if (!labels.empty()) *name->record.mutable_labels() = labels;
  return absl::OkStatus();
}

absl::Status DeviceNames::RemoveCredential(const CredentialRecord& record) {
  ASSIGN_OR_RETURN(Name* const name, Find(record.subject()));
  Drop(record.name(), now_, &name->record);
  if (name->record.credentials().empty()) name->record.clear_labels();
  return absl::OkStatus();
}

absl::StatusOr<bool> DeviceNames::ChangeLabels(const key::v1::LabelDeviceRequest& request) {
  absl::string_view subject = request.name();
  if (!absl::ConsumePrefix(&subject, keys::kDeviceLabelsPrefix)) return Unknown(request.name());
  RETURN_IF_ERROR(keys::CheckLabels(request.set()));
  if (request.remove_size() > keys::kMaxLabels) {
    return Error(absl::StatusCode::kInvalidArgument, "TOO_MANY_LABELS", "over 64 labels are to be removed");
  }
  ASSIGN_OR_RETURN(Name* const name, Find(std::string(subject)));
  if (name->record.credentials().empty()) return Unknown(subject);
  keys::Labels labels = name->record.labels();
  for (const std::string& key : request.remove()) {
    if (request.set().contains(key)) {
      return Error(absl::StatusCode::kInvalidArgument, "LABEL_TWICE",
                   "one label is both set and removed; say one of the two");
    }
    labels.erase(key);
  }
  for (const auto& [key, value] : request.set()) labels[key] = value;
  RETURN_IF_ERROR(keys::CheckLabels(labels));
  const bool changed = !keys::AreSame(labels, name->record.labels());
  *name->record.mutable_labels() = std::move(labels);
  return changed;
}

void DeviceNames::AddTo(store::Transaction* transaction) const {
  for (const auto& [subject, name] : names_) {
    const std::string key = KeyOf(subject);
    name.before.has_value() ? transaction->IfUnchanged(*name.before) : transaction->IfAbsent(key);
    if (!name.record.credentials().empty()) {
      transaction->Set(key, name.record.SerializeAsString());
    } else if (name.before.has_value()) {
      transaction->Delete(key);
    }
  }
}

absl::StatusOr<keys::Labels> DeviceNames::LabelsOf(store::Store* store, absl::string_view subject) {
  const absl::StatusOr<store::Entry> entry = store->Get(KeyOf(subject));
  if (absl::IsNotFound(entry.status())) return keys::Labels();
  RETURN_IF_ERROR(entry.status());
  DeviceName record;
  if (!record.ParseFromString(entry->value)) return Damaged(entry->key);
  return record.labels();
}

absl::StatusOr<key::v1::DeviceLabels> DeviceNames::ToMessage(absl::string_view key,
                                                             const std::optional<std::string>& value) {
  key::v1::DeviceLabels message;
  message.set_name(absl::StrCat(keys::kDeviceLabelsPrefix, absl::StripPrefix(key, kDeviceNamePrefix)));
  DeviceName record;
  if (value.has_value() && !record.ParseFromString(*value)) return Damaged(key);
  *message.mutable_labels() = record.labels();
  return message;
}

absl::StatusOr<bool> DeviceNames::FillPage(store::Store* store, absl::Time now, store::KeyRange* range) {
  ASSIGN_OR_RETURN(const store::Page page, store->List(*range, kPage));
  DeviceNames names(store, now);
  for (const store::Entry& issued : page.entries) {
    ASSIGN_OR_RETURN(const store::Entry entry, store->Get(absl::StrCat(kCredentialPrefix, issued.value)));
    CredentialRecord record;
    if (!record.ParseFromString(entry.value)) return Damaged(entry.key);
    if (record.role() != access::v1::ROLE_DEVICE || record.has_revoke_time()) continue;
    RETURN_IF_ERROR(names.AddCredential(record, keys::Labels()));
  }
  if (!page.entries.empty()) range->begin = page.entries.back().key + '\0';
  store::Transaction transaction;
  names.AddTo(&transaction);
  if (!page.more) transaction.Set(kDeviceNamesFilledKey, "");
  RETURN_IF_ERROR(store->Commit(std::move(transaction)).status());
  return page.more;
}

absl::Status DeviceNames::Fill(store::Store* store, absl::Time now) {
  const absl::Status filled = store->Get(kDeviceNamesFilledKey).status();
  if (!absl::IsNotFound(filled)) return filled;
  store::KeyRange range = store::KeyRange::Prefix(kIssuedPrefix);
  while (true) {
    ASSIGN_OR_RETURN(const bool more, FillPage(store, now, &range));
    if (!more) return absl::OkStatus();
  }
}

}  // namespace parley::keyd
