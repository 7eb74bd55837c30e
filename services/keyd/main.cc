// The process of an organisation's key store: flags, and all wiring.
#include <grpcpp/server_builder.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "lib/base/error.h"
#include "lib/rest/server.h"
#include "lib/service/health.h"
#include "lib/service/process.h"
#include "lib/service/service_flags.h"
#include "lib/service/service_store.h"
#include "lib/transport/grpc_door.h"
#include "services/keyd/keyd.h"
#include "services/keyd/rest_api.h"

namespace parley::keyd {
namespace {

absl::Status Serve(const Host::Options& options, const service::ServiceOptions& service, service::Process& process) {
  std::unique_ptr<transport::GrpcDoor> door;
  Keyd::Config config;
  config.options = options;
  if (options.shares_store) {
    ASSIGN_OR_RETURN(config.shared_store, service::OpenServiceStore(service, /*organisation=*/"", &process));
  }
  config.metrics = process.metrics();
  config.on_admitting = [&process](bool admits) { process.health()->SetAdmitting("store", admits); };
  config.find_peer = [&door](const grpc::ServerContextBase& context) { return door->PeerOf(context); };
  config.listener = [&door]() -> transport::Listener& { return door->listener(); };
  ASSIGN_OR_RETURN(const auto keyd, Keyd::Create(std::move(config)));

  transport::Listener::Options listener;
  listener.address = options.listen;
  listener.accept_rest = true;
  RETURN_IF_ERROR(keyd->Certify(&listener));
  ASSIGN_OR_RETURN(door, transport::GrpcDoor::Create(std::move(listener), keyd->key_source()));
  ASSIGN_OR_RETURN(const auto rest, rest::Server::Attach(door.get(), RestApi()));
  RETURN_IF_ERROR(keyd->WriteCredentials(door->listener().address()));

  grpc::ServerBuilder builder;
  keyd->Register(&builder);
  process.Prepare(&builder);
  RETURN_IF_ERROR(door->Serve(&builder));
  const rpc::Metrics::Source at_door = process.CountDoor(&door->listener());
  const absl::Status announced = process.Serving(door->listener().address());
  if (announced.ok()) process.WaitForStop();
  door->listener().StopAccepting();
  keyd->Drain();
  door->Shutdown(absl::Now() + service::kShutdownGrace);
  door->Wait();
  return announced;
}

int Main(int argc, char** argv) {
  Host::Options options;
  service::ServiceOptions service;
  service.process.name = "keyd";
  service.process.services = RestApi().services;
  service.data = options.data;
  service.listen = options.listen;
  service::ServiceFlags flags(
      "Keeps an organisation's keys: issues, revokes and rotates them, and keeps the audit log.", &service);
  flags.Add("--kek-file", options.kek_file,
            "key-encryption key: 32 bytes or 64 hex digits, mode 0600 (default: {data}/kek, made at the first start)");
  flags.Add("--taskd-address", options.taskd_address, "host:port of taskd, as written into credentials");
  flags.Add("--enrolld-address", options.enrolld_address, "host:port of enrolld, as written into credentials");
  flags.Add("--keyd-address", options.keyd_address,
            "host:port of keyd, as written into credentials (default: --listen)");
  flags.Add("--organisation", options.organisation, "name of the organisation that the first start founds");
  flags.AddSwitch("--new-admin", options.new_admin,
                  "issue another admin.credential, for an organisation that has lost its last one");
  if (const auto result = flags.Parse(argc, argv); result.has_value()) return *result;
  options.data = service.data;
  options.listen = service.listen;
  options.names = service.names;
  options.shares_store = service::SharesStore(service);
  options.database = service::DatabasePath(service);
  return flags.Run([&](service::ConfigCheck& check) { Host::Check(options, &check); },
                   [&](service::Process& process) { return Serve(options, service, process); });
}

}  // namespace
}  // namespace parley::keyd

int main(int argc, char** argv) { return parley::keyd::Main(argc, argv); }
