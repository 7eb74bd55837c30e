// The task coordinator's process: flags, and all wiring.
#include <unistd.h>

#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/chunks/chunk_store.h"
#include "lib/crypto/kdf.h"
#include "lib/service/following_server.h"
#include "lib/service/service_flags.h"
#include "lib/service/service_store.h"
#include "lib/store/companion_secret.h"
#include "services/taskd/rest_api.h"
#include "services/taskd/taskd.h"

namespace parley::taskd {
namespace {

constexpr size_t kSealingKeyBytes = 32;

struct Options : service::ServerOptions {
  // The sealing key of taskds that share a store. Empty: {data}/seal.key, made at the first start.
  std::string seal_key_file;
  // How long tasks are kept after their end: "30d" or "unlimited".
  std::string task_retention = "30d";
  // Where chunks go; empty for the store.
  std::string chunks;
  // "64MiB" or "unlimited"; empty for the default of the store.
  std::string chunks_limit;
};

constexpr char kRetention[] = "--task-retention";
constexpr char kChunks[] = "--chunks";
constexpr char kChunksLimit[] = "--chunks-limit";
// What an etcd, which keeps all in memory, bears beside everything else.
constexpr int64_t kSharedStoreMiB = 64;

bool HasDatabase(const Options& options) { return ::access(service::DatabasePath(options).c_str(), F_OK) == 0; }

absl::StatusOr<Secret> ReadSealingKey(const std::string& path) {
  ASSIGN_OR_RETURN(Secret key, ReadSecretFile(path, kSealingKeyBytes));
  if (key.size() == kSealingKeyBytes) return key;
  return Error(absl::StatusCode::kDataLoss, "SEALING_KEY_MALFORMED",
               absl::StrCat("the sealing key ", path, " does not have 32 bytes; put the file back from a backup"));
}

absl::StatusOr<Secret> MakeSealingKey(const std::string& path) {
  Secret key = crypto::RandomSecret(kSealingKeyBytes);
  RETURN_IF_ERROR(WriteSecretFile(path, key));
  return key;
}

store::CompanionSecret SealingKey(const Options& options) {
  return {options.data + "/seal.key",
          service::DatabasePath(options),
          "the sealing key",
          "SEALING_KEY_MISSING",
          ReadSealingKey,
          MakeSealingKey};
}

absl::StatusOr<Secret> FindSealingKey(const Options& options) {
  if (!options.seal_key_file.empty()) return ReadSealingKey(options.seal_key_file);
  if (service::SharesStore(options)) {
    return FailedPrecondition("SEALING_KEY_MISSING",
                              "taskds that share a store share their sealing key; give each the same one with "
                              "--seal-key-file: 32 random bytes, mode 0600");
  }
  return store::FindCompanionSecret(SealingKey(options), HasDatabase(options));
}

absl::Status CheckSealingKey(const Options& options) {
  if (!options.seal_key_file.empty() || service::SharesStore(options)) return FindSealingKey(options).status();
  return store::CheckCompanionSecret(SealingKey(options), HasDatabase(options));
}

// Returns 0 for no limit.
absl::StatusOr<int64_t> MaxStoredBytes(const Options& options) {
  absl::string_view text = options.chunks_limit;
  if (text.empty()) return service::SharesStore(options) ? kSharedStoreMiB << 20 : 0;
  if (text == "unlimited") return 0;
  int64_t mib = 0;
  if (absl::ConsumeSuffix(&text, "MiB") && absl::SimpleAtoi(text, &mib) && mib >= 1 && mib <= 1'000'000) {
    return mib << 20;
  }
  return InvalidArgument("CHUNKS_LIMIT", kChunksLimit, " is '", options.chunks_limit,
                         "'; give a number of MiB such as 64MiB, or unlimited");
}

absl::StatusOr<absl::Duration> Retention(const Options& options) {
  absl::string_view text = options.task_retention;
  if (text == "unlimited") return absl::InfiniteDuration();
  int64_t days = 0;
  absl::Duration retention;
  if (absl::ConsumeSuffix(&text, "d") && absl::SimpleAtoi(text, &days)) {
    if (days >= 1 && days <= 3660) return absl::Hours(24 * days);
  } else if (absl::ParseDuration(text, &retention) && retention >= absl::Minutes(1) &&
             retention <= absl::Hours(24 * 3660)) {
    return retention;
  }
  return InvalidArgument("TASK_RETENTION", kRetention, " is '", options.task_retention,
                         "'; give 1m to 3660d, such as 12h or 30d, or unlimited");
}

absl::StatusOr<chunks::ChunkStore::Options> ChunkOptions(const Options& options) {
  chunks::ChunkStore::Options chunks;
  chunks.folder = options.chunks;
  ASSIGN_OR_RETURN(chunks.max_stored_bytes, MaxStoredBytes(options));
  chunks.folder_setting = kChunks;
  chunks.more_room =
      "start taskd with --chunks FOLDER, which its replicas share, or with a higher --chunks-limit, or delete tasks "
      "that have ended";
  return chunks;
}

absl::Status Serve(const Options& options, service::Process& process) {
  RETURN_IF_ERROR(MakeFolders(options.data, 0700));
  ASSIGN_OR_RETURN(Secret sealing_key, FindSealingKey(options));
  ASSIGN_OR_RETURN(chunks::ChunkStore::Options chunks, ChunkOptions(options));
  ASSIGN_OR_RETURN(const absl::Duration retention, Retention(options));
  ASSIGN_OR_RETURN(const auto server, service::FollowingServer::Open(options, RestApi(), &process));
  if (!service::SharesStore(options) && options.seal_key_file.empty()) {
    RETURN_IF_ERROR(store::KeepCompanionSecret(SealingKey(options)));
  }
  RETURN_IF_ERROR(server->Join());
  Taskd::Config config;
  config.store = server->store();
  config.chunks = std::move(chunks);
  config.retention = retention;
  config.replicas = server->replicas();
  config.keyring = server->keyring();
  config.sealing_key = std::move(sealing_key);
  config.public_address = server->public_address();
  config.labels = server->labels();
  config.audit = server->audit_log();
  config.metrics = process.metrics();
  config.steady = TimeSinceBoot;
  config.find_peer = server->FindPeer();
  config.revoke = server->Revoke();
  ASSIGN_OR_RETURN(const auto taskd, Taskd::Create(std::move(config)));
  const auto replicas =
      server->FollowReplicas([&taskd] { return taskd->ReadAnew(); }, [&taskd](bool held) { taskd->OnLease(held); });
  ASSIGN_OR_RETURN(const auto following, server->FollowRevocations(&taskd->ended_credentials()));
  return server->Run([&](grpc::ServerBuilder* builder) { taskd->Register(builder); }, [&] { taskd->Drain(); });
}

void Check(const Options& options, service::ConfigCheck& check) {
  service::FollowingServer::Check(options, &check);
  check.Found(kRetention, Retention(options).status());
  check.Found(kChunksLimit, MaxStoredBytes(options).status());
  if (!options.chunks.empty()) check.Found(kChunks, chunks::ChunkFolder::Check(options.chunks));
  check.Found(options.seal_key_file.empty() ? "--data" : "--seal-key-file", CheckSealingKey(options));
}

int Main(int argc, char** argv) {
  Options options;
  options.process.name = "taskd";
  options.process.services = RestApi().services;
  options.listen = "127.0.0.1:7443";
  options.follow_labels = true;
  service::ServiceFlags flags(
      "Coordinates configuration-update tasks: offers them to clients and follows each to its end.", &options);
  service::FollowingServer::AddFlags(&options, "join keys", &flags);
  flags.Add(
      "--seal-key-file", options.seal_key_file,
      "key that seals tasks' signing keys: 32 bytes, mode 0600 (default: {data}/seal.key, made at the first start)");
  flags.Add(kRetention, options.task_retention, "how long tasks are kept after their end, or unlimited");
  flags.Add(kChunks, options.chunks, "folder for payloads, which the replicas share (default: beside everything else)");
  flags.Add(kChunksLimit, options.chunks_limit,
            "how much of payloads the store may have, such as 64MiB, or unlimited (default: 64MiB in an etcd)");
  if (const auto result = flags.Parse(argc, argv); result.has_value()) return *result;
  return flags.Run([&](service::ConfigCheck& check) { Check(options, check); },
                   [&](service::Process& process) { return Serve(options, process); });
}

}  // namespace
}  // namespace parley::taskd

int main(int argc, char** argv) { return parley::taskd::Main(argc, argv); }
