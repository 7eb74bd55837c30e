// The task coordinator's process: flags, and all wiring.
#include <unistd.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/crypto/kdf.h"
#include "lib/keyclient/server.h"
#include "lib/rpc/service_flags.h"
#include "lib/store/sqlite_store.h"
#include "services/taskd/rest_api.h"
#include "services/taskd/service/taskd.h"

namespace parley::taskd {
namespace {

constexpr size_t kSealingKeyBytes = 32;

using Options = keyclient::ServerOptions;

std::string SealingKeyPath(const std::string& data) { return data + "/seal.key"; }

// NOT_FOUND before the first start. A data folder that has lost its own could sign no more revisions, so that is an
// error.
absl::StatusOr<Secret> FindSealingKey(const std::string& data) {
  const std::string path = SealingKeyPath(data);
  absl::StatusOr<Secret> key = ReadSecretFile(path, kSealingKeyBytes);
  if (absl::IsNotFound(key.status()) && ::access((data + "/taskd.db").c_str(), F_OK) == 0) {
    return Error(absl::StatusCode::kFailedPrecondition, "SEALING_KEY_MISSING",
                 absl::StrCat("the sealing key ", path, " is missing; put the file back from a backup"));
  }
  RETURN_IF_ERROR(key.status());
  if (key->size() == kSealingKeyBytes) return key;
  return Error(absl::StatusCode::kDataLoss, "SEALING_KEY_MALFORMED",
               absl::StrCat("the sealing key ", path, " does not have 32 bytes; put the file back from a backup"));
}

absl::StatusOr<Secret> ReadSealingKey(const std::string& data) {
  absl::StatusOr<Secret> key = FindSealingKey(data);
  if (!absl::IsNotFound(key.status())) return key;
  key = crypto::RandomSecret(kSealingKeyBytes);
  RETURN_IF_ERROR(WriteSecretFile(SealingKeyPath(data), *key));
  return key;
}

absl::Status Serve(const Options& options, rpc::Process& process) {
  RETURN_IF_ERROR(MakeFolders(options.data, 0700));
  ASSIGN_OR_RETURN(Secret sealing_key, ReadSealingKey(options.data));
  ASSIGN_OR_RETURN(const auto store, store::OpenSqliteStore({.path = options.data + "/taskd.db"}));
  ASSIGN_OR_RETURN(const auto server, keyclient::Server::Open(options, RestApi(), &process));
  Taskd::Config config;
  config.store = store.get();
  config.keyring = server->keyring();
  config.sealing_key = std::move(sealing_key);
  config.public_address = server->public_address();
  config.audit = server->audit_log();
  config.metrics = process.metrics();
  config.find_peer = server->FindPeer();
  config.revoke = server->Revoke();
  ASSIGN_OR_RETURN(const auto taskd, Taskd::Create(std::move(config)));
  ASSIGN_OR_RETURN(const auto following, server->FollowRevocations(&taskd->ended_credentials()));
  return server->Run([&](grpc::ServerBuilder* builder) { taskd->Register(builder); }, [&] { taskd->Drain(); });
}

void Check(const Options& options, rpc::ConfigCheck& check) {
  keyclient::Server::Check(options, &check);
  const absl::Status sealing_key = FindSealingKey(options.data).status();
  if (!absl::IsNotFound(sealing_key)) check.Found("--data", sealing_key);
}

int Main(int argc, char** argv) {
  Options options;
  options.process.name = "taskd";
  options.process.services = RestApi().services;
  options.listen = "127.0.0.1:7443";
  rpc::ServiceFlags flags("Coordinates configuration-update tasks: offers them to clients and follows each to its end.",
                          &options);
  keyclient::Server::AddFlags(&options, "join keys", &flags);
  if (const auto result = flags.Parse(argc, argv); result.has_value()) return *result;
  return flags.Run([&](rpc::ConfigCheck& check) { Check(options, check); },
                   [&](rpc::Process& process) { return Serve(options, process); });
}

}  // namespace
}  // namespace parley::taskd

int main(int argc, char** argv) { return parley::taskd::Main(argc, argv); }
