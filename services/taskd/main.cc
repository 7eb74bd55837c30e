// The task coordinator's process: flags, and all wiring.
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/server_builder.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/crypto/kdf.h"
#include "lib/keyclient/key_follower.h"
#include "lib/keys/key_source.h"
#include "lib/rest/server.h"
#include "lib/rpc/process.h"
#include "lib/store/sqlite_store.h"
#include "lib/transport/grpc_door.h"
#include "services/taskd/rest_api.h"
#include "services/taskd/service/taskd.h"

namespace parley::taskd {
namespace {

constexpr absl::Duration kKeydTimeout = absl::Seconds(60);
constexpr absl::Duration kDrainTimeout = absl::Seconds(10);
constexpr size_t kSealingKeyBytes = 32;

struct Options {
  std::string data;
  std::string listen = "127.0.0.1:7443";
  std::string public_address;
  std::string keyd_credential;
  std::vector<std::string> names;
};

// Made at the first start. A data folder that has lost its own could sign no more revisions, so that is an error.
absl::StatusOr<Secret> ReadSealingKey(const std::string& data) {
  const std::string path = data + "/seal.key";
  absl::StatusOr<Secret> key = ReadSecretFile(path, kSealingKeyBytes);
  if (absl::IsNotFound(key.status())) {
    if (::access((data + "/taskd.db").c_str(), F_OK) == 0) {
      return Error(absl::StatusCode::kFailedPrecondition, "SEALING_KEY_MISSING",
                   absl::StrCat("the sealing key ", path, " is missing; put the file back from a backup"));
    }
    key = crypto::RandomSecret(kSealingKeyBytes);
    RETURN_IF_ERROR(WriteSecretFile(path, *key));
  }
  RETURN_IF_ERROR(key.status());
  if (key->size() == kSealingKeyBytes) return key;
  return Error(absl::StatusCode::kDataLoss, "SEALING_KEY_MALFORMED",
               absl::StrCat("the sealing key ", path, " does not have 32 bytes; put the file back from a backup"));
}

std::vector<std::string> DefaultNames() {
  std::vector<std::string> names = {"localhost", "127.0.0.1", "::1"};
  char host[256] = {};
  if (gethostname(host, sizeof(host) - 1) == 0 && host[0] != '\0') names.emplace_back(host);
  return names;
}

// What clients dial. An address that means every interface is none that they could.
absl::StatusOr<std::string> PublicAddress(const Options& options, const std::string& listening) {
  if (!options.public_address.empty()) return options.public_address;
  for (const absl::string_view wildcard : {"0.0.0.0:", "[::]:", ":"}) {
    if (absl::string_view(options.listen).substr(0, wildcard.size()) != wildcard) continue;
    return Error(absl::StatusCode::kInvalidArgument, "PUBLIC_ADDRESS_MISSING",
                 absl::StrCat("clients cannot connect to ", options.listen,
                              "; say with --public-address what goes into join keys, e.g. taskd.example:7443"));
  }
  return listening;
}

absl::Status Serve(const Options& options, rpc::Process& process) {
  RETURN_IF_ERROR(MakeFolders(options.data, 0700));
  ASSIGN_OR_RETURN(Secret sealing_key, ReadSealingKey(options.data));
  ASSIGN_OR_RETURN(const auto store, store::OpenSqliteStore({.path = options.data + "/taskd.db"}));
  ASSIGN_OR_RETURN(const auto follower,
                   keyclient::KeyFollower::Create({.credential_path = options.keyd_credential,
                                                   .names = options.names.empty() ? DefaultNames() : options.names}));
  RETURN_IF_ERROR(follower->WaitUntilReady(kKeydTimeout));

  keyclient::KeyFollower::Certificate certificate = follower->certificate();
  transport::Listener::Options listener;
  listener.address = options.listen;
  listener.certificate_pem = std::move(certificate.certificate_pem);
  listener.private_key_pem = std::move(certificate.private_key_pem);
  listener.accept_rest = true;
  ASSIGN_OR_RETURN(const auto door, transport::GrpcDoor::Create(std::move(listener), follower->key_source()));
  ASSIGN_OR_RETURN(const auto rest, rest::Server::Attach(door.get(), RestApi()));

  Taskd::Config config;
  config.store = store.get();
  config.keyring = follower->keyring();
  config.sealing_key = std::move(sealing_key);
  ASSIGN_OR_RETURN(config.public_address, PublicAddress(options, door->listener().address()));
  config.audit = follower->audit_log();
  config.find_peer = [&door = *door](const grpc::ServerContextBase& context) { return door.PeerOf(context); };
  config.revoke = [keys = follower->key_source(), &door = *door](const std::string& serial, absl::Time not_after) {
    keys->Revoke(serial, not_after);
    door.listener().CloseKey(HexEncode(serial));
  };
  ASSIGN_OR_RETURN(const auto taskd, Taskd::Create(std::move(config)));

  // Before the builder: both are plugins of every server that is built afterwards.
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  taskd->Register(&builder);
  RETURN_IF_ERROR(door->Serve(&builder));
  follower->Attach(&door->listener());
  const absl::Status announced = process.Serving(door->listener().address());
  if (announced.ok()) process.WaitForStop();

  follower->Detach();
  taskd->Drain();
  door->Shutdown(absl::Now() + kDrainTimeout);
  door->Wait();
  return announced;
}

int Main(int argc, char** argv) {
  Options options;
  std::string ready_file;
  CLI::App app("Coordinates configuration-update tasks: offers them to clients and follows each to its end.", "taskd");
  const auto add = [&app](const std::string& name, auto& target, const std::string& help) {
    std::string variable = "PARLEY_TASKD_" + name.substr(2);
    for (char& letter : variable) letter = letter == '-' ? '_' : static_cast<char>(toupper(letter));
    return app.add_option(name, target, help)->envname(variable)->capture_default_str();
  };
  add("--data", options.data, "folder of the database and of the sealing key")->required();
  add("--listen", options.listen, "host:port to listen on; port 0 takes a free one");
  add("--public-address", options.public_address, "host:port that goes into join keys (default: --listen)");
  add("--keyd-credential", options.keyd_credential, "taskd.credential, as keyd made it at its first start")->required();
  add("--names", options.names,
      "DNS names and IP addresses for the server certificate (default: localhost and the host's name)")
      ->delimiter(',');
  add("--ready-file", ready_file, "file that gets the address once taskd serves");
  CLI11_PARSE(app, argc, argv);
  return rpc::RunService("taskd", [&](rpc::Process& process) {
    process.set_ready_file(ready_file);
    return Serve(options, process);
  });
}

}  // namespace
}  // namespace parley::taskd

int main(int argc, char** argv) { return parley::taskd::Main(argc, argv); }
