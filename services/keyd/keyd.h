// keyd put together: store, domain, service and door. main.cc gives it flags; tests start it in-process.
#ifndef PARLEY_SERVICES_KEYD_KEYD_H_
#define PARLEY_SERVICES_KEYD_KEYD_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/base/clock.h"

namespace parley::rpc {
class ConfigCheck;
class Process;
}  // namespace parley::rpc

namespace parley::keyd {

class Keyd {
 public:
  struct Options {
    // Folder of the database and of credentials/. Made with mode 0700.
    std::string data = "/var/lib/parley/keyd";
    // host:port; port 0 takes a free one.
    std::string listen = "127.0.0.1:7444";
    // Key-encryption key. Empty: {data}/kek, made at the first start.
    std::string kek_file;
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
    // Whose health, metrics and reflection it has; may be null, else must outlive keyd.
    rpc::Process* process = nullptr;
    // Must outlive keyd.
    Clock* clock = Clock::System();
  };

  // Serves on return. The errors of OpenSqliteStore, KeyAuthority::Open, Listener::Create and of files: FILE_EXPOSED
  // when the key-encryption key, the database or a credential may be read by others; KEK_WRONG, KEK_MISSING, and
  // DATABASE_MISSING where a key-encryption key or credentials are beside no organisation.
  static absl::StatusOr<std::unique_ptr<Keyd>> Start(Options options);
  // For --check-config: what Start would find, without making anything or listening.
  static void Check(const Options& options, rpc::ConfigCheck* check);
  // Shuts down at once.
  ~Keyd();

  // host:port, with the real port.
  const std::string& address() const;
  // Lets calls under way finish for at most this long, and writes what waits for the audit log.
  void Shutdown(absl::Duration grace);

 private:
  class Impl;
  explicit Keyd(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_KEYD_H_
