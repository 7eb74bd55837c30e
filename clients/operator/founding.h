// Founding an organisation: a root key signs the first admin's device, and is destroyed.
//
// Guarantees: what the founding needs is in the device file before keyd hears of it, so that one that was interrupted
// goes on with the same keys.
//
// Threads: free functions without state. FoundOrganisation blocks.
#ifndef PARLEY_CLIENTS_OPERATOR_FOUNDING_H_
#define PARLEY_CLIENTS_OPERATOR_FOUNDING_H_

#include <string>

#include "absl/status/status.h"
#include "clients/operator/connection.h"
#include "lib/device/device_file.h"

namespace parley::ops {

// Returns what the device file of the founder holds in the beginning: the keys of the first admin, and the certificates
// by the root, whose key is gone when this returns. `user` must be a trust::IsUserName, `device_label` a
// trust::IsDeviceLabel.
device::Contents MakeFounder(const std::string& user, const std::string& device_label);

// Returns whether the file is of a founding by this user that was begun and not finished.
bool IsFounding(const device::Contents& contents, const std::string& user);

// Founds the organisation that the file describes, for which IsFounding holds, and enrols the device in it. `keyd` is a
// connection with an admin's credential. Returns ALREADY_EXISTS (CHAIN_FOUNDED) if there is an organisation already,
// and then removes the file, or the errors of keyd and of DeviceFile::Update.
absl::Status FoundOrganisation(const Connection& keyd, device::DeviceFile* file);

}  // namespace parley::ops

#endif  // PARLEY_CLIENTS_OPERATOR_FOUNDING_H_
