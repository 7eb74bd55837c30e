#include "clients/cli/store_options.h"

#include "lib/base/error.h"

namespace parley::cli {

void AddEtcdFiles(Command command, EtcdFiles* files) {
  command.AddOption("--store-ca", files->ca, "Certificates that sign those of the etcd's members, PEM");
  command.AddOption("--store-cert", files->certificate, "Certificate to show to the etcd, PEM");
  command.AddOption("--store-key", files->key, "Private key of that certificate, PEM");
}

absl::StatusOr<store::StoreOptions> StoreAt(const std::string& url, const EtcdFiles& files,
                                            const std::string& service) {
  store::StoreOptions options = {.url = url, .service = service};
  options.ca_file = files.ca;
  options.certificate_file = files.certificate;
  options.key_file = files.key;
  // Any service will do for checking the others.
  store::StoreOptions checked = options;
  if (service.empty()) checked.service = "any";
  const absl::Status status = store::CheckStoreOptions(checked);
  if (absl::IsInvalidArgument(status)) return UsageError(status.message());
  RETURN_IF_ERROR(status);
  return options;
}

}  // namespace parley::cli
