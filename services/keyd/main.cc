// The key store of an organisation. All wiring is in keyd.cc; here are the flags.
#include <memory>
#include <string>
#include <utility>

#include "lib/base/error.h"
#include "lib/rpc/process.h"
#include "lib/rpc/service_flags.h"
#include "services/keyd/keyd.h"
#include "services/keyd/rest_api.h"

namespace parley::keyd {
namespace {

absl::Status Serve(Keyd::Options options, rpc::Process& process) {
  options.process = &process;
  ASSIGN_OR_RETURN(const auto keyd, Keyd::Start(std::move(options)));
  RETURN_IF_ERROR(process.Serving(keyd->address()));
  process.WaitForStop();
  keyd->Shutdown(rpc::kShutdownGrace);
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  Keyd::Options options;
  rpc::ServiceOptions service;
  service.process.name = "keyd";
  service.process.services = RestApi().services;
  service.data = options.data;
  service.listen = options.listen;
  rpc::ServiceFlags flags("Keeps an organisation's keys: issues, revokes and rotates them, and keeps the audit log.",
                          &service);
  flags.Add("--kek-file", options.kek_file,
            "key-encryption key: 32 bytes or 64 hex digits, mode 0600 (default: {data}/kek, made at the first start)");
  flags.Add("--taskd-address", options.taskd_address, "host:port of taskd, as written into credentials");
  flags.Add("--enrolld-address", options.enrolld_address, "host:port of enrolld, as written into credentials");
  flags.Add("--keyd-address", options.keyd_address,
            "host:port of keyd, as written into credentials (default: --listen)");
  flags.Add("--organisation", options.organisation, "name of the organisation that the first start founds");
  flags.app()
      .add_flag("--new-admin", options.new_admin,
                "issue another admin.credential, for an organisation that has lost its last one")
      ->envname("PARLEY_KEYD_NEW_ADMIN");
  if (const auto result = flags.Parse(argc, argv); result.has_value()) return *result;
  options.data = service.data;
  options.listen = service.listen;
  options.names = service.names;
  return flags.Run([&](rpc::ConfigCheck& check) { Keyd::Check(options, &check); },
                   [&](rpc::Process& process) { return Serve(options, process); });
}

}  // namespace
}  // namespace parley::keyd

int main(int argc, char** argv) { return parley::keyd::Main(argc, argv); }
