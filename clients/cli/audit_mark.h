// The last entry of an audit log that this machine has verified: a log whose end was cut off, or that was written
// anew, is found out by it.
#ifndef PARLEY_CLIENTS_CLI_AUDIT_MARK_H_
#define PARLEY_CLIENTS_CLI_AUDIT_MARK_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/audit/audit_chain.h"

namespace parley::cli {

// In ConfigFolder(), one for each organisation, which its CA stands for.
std::string AuditMarkPath(const std::string& ca_pem);

// Nothing when there is none yet. DATA_LOSS (AUDIT_MARK_DAMAGED).
absl::StatusOr<std::optional<audit::AuditMark>> LoadAuditMark(const std::string& path);
absl::Status StoreAuditMark(const std::string& path, const audit::AuditMark& mark);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_AUDIT_MARK_H_
