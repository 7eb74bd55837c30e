// What keyd is told, and what it has on its host: a folder with the database and credentials, and the key-encryption
// key (KEK) beside it.
//
// Threads: one at a time.
#ifndef PARLEY_SERVICES_KEYD_HOST_H_
#define PARLEY_SERVICES_KEYD_HOST_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/clock.h"
#include "lib/base/secret.h"
#include "lib/store/store.h"

namespace parley::service {
class ConfigCheck;
}  // namespace parley::service

namespace parley::keyd {

struct Host {
  struct Options {
    // Folder of credentials/, and of the database by default. Made with mode 0700.
    std::string data = "/var/lib/parley/keyd";
    // host:port; port 0 takes a free one.
    std::string listen = "127.0.0.1:7444";
    // Key-encryption key. Empty: {data}/kek, made at the first start, unless the store is shared.
    std::string kek_file;
    // Whether other keyds have the store open as well.
    bool shares_store = false;
    // The database. Empty: {data}/keyd.db.
    std::string database;
    // DNS names and IP addresses for the server certificate. None: localhost, 127.0.0.1, ::1 and the host's name.
    std::vector<std::string> names;
    // What credentials say. Empty keyd_address: the one that is listened on, which must not be a wildcard then.
    std::string taskd_address = "127.0.0.1:7443";
    std::string enrolld_address = "127.0.0.1:7445";
    std::string keyd_address;
    // Name of the organisation that the first start founds.
    std::string organisation = "parley";
    // Issues another admin.credential, for an organisation that has lost its last one.
    bool new_admin = false;

    std::string CredentialFolder() const { return data + "/credentials"; }
  };

  // Opens the folder and the database. FAILED_PRECONDITION: PUBLIC_ADDRESS_MISSING; FILE_EXPOSED when the
  // key-encryption key, the database or a credential may be read by others; KEK_MISSING; DATABASE_MISSING where a
  // key-encryption key or credentials are beside no organisation. The errors of OpenSqliteStore and of files.
  // With a shared store there is no database of its own, and the key-encryption key must be given.
  static absl::StatusOr<Host> Open(const Options& options, Clock* clock, std::shared_ptr<store::Store> shared_store);
  // For --check-config: what Open would find, without making anything.
  static void Check(const Options& options, service::ConfigCheck* check);
  // Must be called with the outcome once the organisation was opened with the key-encryption key, which stands after a
  // success. Returns the error, with the key's path for KEK_WRONG, or the errors of files.
  static absl::Status Opened(const Options& options, const absl::Status& outcome);

  std::shared_ptr<store::Store> store;
  Secret kek;
};

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_HOST_H_
