#include "services/keyd/store/device_names.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"

namespace parley::keyd {
namespace {

using key::v1::CredentialRecord;
using records::DeviceName;

constexpr size_t kPage = 100;

absl::Status Unknown(absl::string_view name) {
  return NotFound("DEVICE_NAME_UNKNOWN", "no device has a credential under the name ", name.substr(0, 64),
                  "; `parley key list` shows the subjects there are");
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

absl::StatusOr<DeviceName*> DeviceNames::Find(const std::string& subject) {
  const auto [at, added] = names_.try_emplace(subject);
  if (added) {
    ASSIGN_OR_RETURN(at->second, FindRecord<DeviceName>(store_->store(), KeyOf(subject)));
  }
  return &at->second.value;
}

absl::StatusOr<keys::Labels> DeviceNames::AddCredential(const CredentialRecord& record, const keys::Labels& labels) {
  ASSIGN_OR_RETURN(DeviceName* const name, Find(record.subject()));
  // What has expired hands its labels on now, and is needed no more.
  Drop(record.name(), now_, name);
  DeviceName::Credential* const added = name->add_credentials();
  added->set_name(record.name());
  *added->mutable_expire_time() = record.expire_time();
  if (!labels.empty()) *name->mutable_labels() = labels;
  return name->labels();
}

absl::Status DeviceNames::RemoveCredential(const CredentialRecord& record) {
  ASSIGN_OR_RETURN(DeviceName* const name, Find(record.subject()));
  Drop(record.name(), now_, name);
  if (name->credentials().empty()) name->clear_labels();
  return absl::OkStatus();
}

absl::StatusOr<bool> DeviceNames::ChangeLabels(const key::v1::LabelDeviceRequest& request,
                                               key::v1::DeviceLabels* response) {
  absl::string_view subject = request.name();
  if (!absl::ConsumePrefix(&subject, keys::kDeviceLabelsPrefix)) return Unknown(request.name());
  RETURN_IF_ERROR(keys::CheckLabels(request.set()));
  if (request.remove_size() > keys::kMaxLabels) {
    return InvalidArgument("TOO_MANY_LABELS", "over 64 labels are to be removed");
  }
  ASSIGN_OR_RETURN(DeviceName* const name, Find(std::string(subject)));
  if (name->credentials().empty()) return Unknown(subject);
  keys::Labels labels = name->labels();
  for (const std::string& key : request.remove()) {
    if (request.set().contains(key)) {
      return InvalidArgument("LABEL_TWICE", "one label is both set and removed; say one of the two");
    }
    labels.erase(key);
  }
  for (const auto& [key, value] : request.set()) labels[key] = value;
  RETURN_IF_ERROR(keys::CheckLabels(labels));
  const bool changed = !keys::AreSame(labels, name->labels());
  *name->mutable_labels() = std::move(labels);
  response->set_name(request.name());
  *response->mutable_labels() = name->labels();
  return changed;
}

void DeviceNames::AddTo(store::Transaction* transaction) const {
  for (const auto& [subject, name] : names_) {
    const std::string key = KeyOf(subject);
    transaction->conditions.push_back({key, name.revision});
    if (!name.value.credentials().empty()) {
      transaction->Set(key, name.value.SerializeAsString());
    } else if (name.exists()) {
      transaction->Delete(key);
    }
  }
}

absl::StatusOr<keys::Labels> DeviceNames::LabelsOf(const KeyStore& store, absl::string_view subject) {
  ASSIGN_OR_RETURN(const auto name, FindRecord<DeviceName>(store.store(), KeyOf(subject)));
  return name.value.labels();
}

absl::StatusOr<key::v1::DeviceLabels> DeviceNames::ToMessage(absl::string_view key,
                                                             const std::optional<std::string>& value) {
  key::v1::DeviceLabels message;
  message.set_name(absl::StrCat(keys::kDeviceLabelsPrefix, absl::StripPrefix(key, kDeviceNamePrefix)));
  ASSIGN_OR_RETURN(const DeviceName name, ParseRecord<DeviceName>(key, value.value_or("")));
  *message.mutable_labels() = name.labels();
  return message;
}

absl::Status DeviceNames::Fill(const KeyStore& store) {
  const absl::Status filled = store.store()->Get(kDeviceNamesFilledKey).status();
  if (!absl::IsNotFound(filled)) return filled;
  store::KeyRange range = store::KeyRange::Prefix(kIssuedPrefix);
  for (bool more = true; more;) {
    ASSIGN_OR_RETURN(const store::Page page, store.store()->List(range, kPage));
    DeviceNames names(&store);
    for (const store::Entry& issued : page.entries) {
      range.begin = issued.key + '\0';
      ASSIGN_OR_RETURN(const auto found, ReadRecord<CredentialRecord>(store.store(), kCredentialPrefix + issued.value));
      const CredentialRecord& record = found.value;
      if (record.role() != access::v1::ROLE_DEVICE || record.has_revoke_time()) continue;
      RETURN_IF_ERROR(names.AddCredential(record, keys::Labels()).status());
    }
    more = page.more;
    store::Transaction transaction;
    names.AddTo(&transaction);
    if (!more) transaction.Set(kDeviceNamesFilledKey, "");
    RETURN_IF_ERROR(store.store()->Commit(std::move(transaction)).status());
  }
  return absl::OkStatus();
}

}  // namespace parley::keyd
