// The key store of an organisation. All wiring is in keyd.cc; here are the flags.
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>

#include <CLI/CLI.hpp>
#include <string>

#include "lib/rpc/process.h"
#include "services/keyd/keyd.h"

namespace parley::keyd {
namespace {

absl::Status Serve(const Keyd::Options& options, rpc::Process& process) {
  // Before the first builder: both are plugins of every server that is built afterwards.
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  absl::StatusOr<std::unique_ptr<Keyd>> keyd = Keyd::Start(options);
  if (!keyd.ok()) return keyd.status();
  const absl::Status announced = process.Serving((*keyd)->address());
  if (!announced.ok()) return announced;
  process.WaitForStop();
  (*keyd)->Shutdown(absl::Seconds(10));
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  Keyd::Options options;
  std::string ready_file;
  CLI::App app("Keeps an organisation's keys: issues, revokes and rotates them, and keeps the audit log.", "keyd");
  const auto add = [&app](const std::string& name, auto& target, const std::string& help) {
    std::string variable = "PARLEY_KEYD_" + name.substr(2);
    for (char& letter : variable) letter = letter == '-' ? '_' : static_cast<char>(toupper(letter));
    return app.add_option(name, target, help)->envname(variable)->capture_default_str();
  };
  add("--data", options.data, "folder of the database and of credentials/");
  add("--listen", options.listen, "host:port to listen on; port 0 takes a free one");
  add("--kek-file", options.kek_file,
      "key-encryption key: 32 bytes or 64 hex digits, mode 0600 (default: {data}/kek, made at the first start)");
  add("--names", options.names,
      "DNS names and IP addresses for the server certificate (default: localhost and the host's name)")
      ->delimiter(',');
  add("--taskd-address", options.taskd_address, "host:port of taskd, as written into credentials");
  add("--enrolld-address", options.enrolld_address, "host:port of enrolld, as written into credentials");
  add("--keyd-address", options.keyd_address, "host:port of keyd, as written into credentials (default: --listen)");
  add("--organisation", options.organisation, "name of the organisation that the first start founds");
  add("--ready-file", ready_file, "file that gets the address once keyd serves");
  app.add_flag("--new-admin", options.new_admin,
               "issue another admin.credential, for an organisation that has lost its last one");
  CLI11_PARSE(app, argc, argv);
  return rpc::RunService("keyd", [&](rpc::Process& process) {
    process.set_ready_file(ready_file);
    return Serve(options, process);
  });
}

}  // namespace
}  // namespace parley::keyd

int main(int argc, char** argv) { return parley::keyd::Main(argc, argv); }
