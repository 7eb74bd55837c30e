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
#include "services/keyd/store/key_store.h"
#include "services/keyd/store/records.pb.h"

namespace parley::keyd {

class DeviceNames {
 public:
  // `store` must outlive this.
  explicit DeviceNames(const KeyStore* store) : store_(store), now_(store->Now()) {}

  // Notes a credential that is issued to a device. It takes over the labels of the name, or replaces them by its own.
  // Returns those that the name has from now on. The errors of FindRecord.
  absl::StatusOr<keys::Labels> AddCredential(const key::v1::CredentialRecord& record, const keys::Labels& labels);
  // Notes that a device's credential is revoked. With the last good one of the name the labels end. The errors of
  // FindRecord.
  absl::Status RemoveCredential(const key::v1::CredentialRecord& record);
  // Sets and removes labels; the response gets all of them. Returns whether that changed any. NOT_FOUND
  // (DEVICE_NAME_UNKNOWN); INVALID_ARGUMENT: LABEL_MALFORMED, TOO_MANY_LABELS, LABEL_TWICE (a label is both set and
  // removed).
  absl::StatusOr<bool> ChangeLabels(const key::v1::LabelDeviceRequest& request, key::v1::DeviceLabels* response);
  // Adds what was noted so far to the transaction.
  void AddTo(store::Transaction* transaction) const;

  // Returns the labels of a name as they are stored: none for a name that is unknown. DATA_LOSS (STORE_DAMAGED).
  static absl::StatusOr<keys::Labels> LabelsOf(const KeyStore& store, absl::string_view subject);
  // Returns what a stored record says, or what the absence of `value` says. DATA_LOSS (STORE_DAMAGED).
  static absl::StatusOr<key::v1::DeviceLabels> ToMessage(absl::string_view key,
                                                         const std::optional<std::string>& value);
  // Notes the credentials of a store that was written before names were kept. Does nothing the second time. The errors
  // of ReadRecord and Store::Commit.
  static absl::Status Fill(const KeyStore& store);

 private:
  absl::StatusOr<records::DeviceName*> Find(const std::string& subject);

  const KeyStore* const store_;
  const absl::Time now_;
  // By subject: what is to be stored, and the revision of what is there now.
  std::map<std::string, Versioned<records::DeviceName>> names_;
};

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_STORE_DEVICE_NAMES_H_
