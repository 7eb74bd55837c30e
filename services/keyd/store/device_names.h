// The names of devices, and what operators say of them. The comment of key.v1.DeviceLabels has the rule.
//
// An object is one change: it reads what it needs, and then adds all of it to a transaction, on the condition that
// nobody else has changed the same meanwhile. Threads: an object belongs to one thread.
#ifndef PARLEY_SERVICES_KEYD_STORE_DEVICE_NAMES_H_
#define PARLEY_SERVICES_KEYD_STORE_DEVICE_NAMES_H_

#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/keys/labels.h"
#include "lib/store/store.h"
#include "parley/key/v1/key_service.pb.h"
#include "services/keyd/store/records.pb.h"

namespace parley::keyd {

class DeviceNames {
 public:
  // `store` must outlive this.
  DeviceNames(store::Store* store, absl::Time now) : store_(store), now_(now) {}

  // Notes a credential that is issued to a device. It takes over the labels of the name, or replaces them by its own.
  absl::Status AddCredential(const key::v1::CredentialRecord& record, const keys::Labels& labels);
  // Notes that a device's credential is revoked. With the last good one of the name the labels end.
  absl::Status RemoveCredential(const key::v1::CredentialRecord& record);
  // Sets and removes labels. Returns whether that changed any. NOT_FOUND (DEVICE_NAME_UNKNOWN); INVALID_ARGUMENT:
  // LABEL_MALFORMED, TOO_MANY_LABELS, LABEL_TWICE (a label is both set and removed).
  absl::StatusOr<bool> ChangeLabels(const key::v1::LabelDeviceRequest& request);
  // Adds what was noted so far to the transaction.
  void AddTo(store::Transaction* transaction) const;

  // Returns the labels of a name as they are stored: none for a name that is unknown. DATA_LOSS (STORE_DAMAGED).
  static absl::StatusOr<keys::Labels> LabelsOf(store::Store* store, absl::string_view subject);
  // Returns what a stored record says, or what the absence of `value` says. DATA_LOSS (STORE_DAMAGED).
  static absl::StatusOr<key::v1::DeviceLabels> ToMessage(absl::string_view key,
                                                         const std::optional<std::string>& value);
  // Notes the credentials of a store that was written before names were kept. Does nothing the second time.
  static absl::Status Fill(store::Store* store, absl::Time now);

 private:
  struct Name {
    std::optional<store::Entry> before;
    records::DeviceName record;
  };
  absl::StatusOr<Name*> Find(const std::string& subject);
  static absl::StatusOr<bool> FillPage(store::Store* store, absl::Time now, store::KeyRange* range);

  store::Store* const store_;
  const absl::Time now_;
  // By subject: what is to be stored.
  std::map<std::string, Name> names_;
};

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_STORE_DEVICE_NAMES_H_
