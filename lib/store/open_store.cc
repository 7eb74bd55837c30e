#include "lib/store/open_store.h"

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "lib/base/error.h"
#include "lib/store/etcd/etcd_store.h"
#include "lib/store/sqlite_store.h"

namespace parley::store {
namespace {

absl::Status BadUrl(absl::string_view text) {
  return InvalidArgument(
      "STORE_URL", "\"", text,
      "\" names no store; write sqlite:PATH or etcd:https://HOST:PORT[,https://HOST:PORT…][/PREFIX]");
}

EtcdOptions ToEtcd(const StoreOptions& options, StoreUrl url) {
  EtcdOptions etcd;
  etcd.endpoints = std::move(url.endpoints);
  etcd.prefix = std::move(url.prefix);
  etcd.service = options.service;
  etcd.organisation = options.organisation;
  etcd.purpose = options.purpose;
  etcd.ca_file = options.ca_file;
  etcd.certificate_file = options.certificate_file;
  etcd.key_file = options.key_file;
  return etcd;
}

}  // namespace

absl::StatusOr<StoreUrl> ParseStoreUrl(absl::string_view text) {
  StoreUrl url;
  absl::string_view rest = text;
  if (absl::ConsumePrefix(&rest, "sqlite:")) {
    if (rest.empty()) return BadUrl(text);
    url.path = std::string(rest);
    return url;
  }
  if (!absl::ConsumePrefix(&rest, "etcd:")) return BadUrl(text);
  url.prefix = EtcdOptions().prefix;
  // The prefix follows the last member.
  const size_t authority = rest.rfind("://");
  const size_t slash = authority == rest.npos ? rest.npos : rest.find('/', authority + 3);
  if (slash != rest.npos) {
    url.prefix = std::string(rest.substr(slash + 1));
    rest = rest.substr(0, slash);
  }
  url.endpoints = absl::StrSplit(rest, ',');
  for (const std::string& endpoint : url.endpoints) {
    if (endpoint.empty()) return BadUrl(text);
  }
  if (url.prefix.empty()) return BadUrl(text);
  return url;
}

absl::Status CheckStoreOptions(const StoreOptions& options) {
  ASSIGN_OR_RETURN(StoreUrl url, ParseStoreUrl(options.url));
  return url.is_etcd() ? CheckEtcdOptions(ToEtcd(options, std::move(url))) : absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Store>> OpenStore(const StoreOptions& options) {
  ASSIGN_OR_RETURN(StoreUrl url, ParseStoreUrl(options.url));
  if (url.is_etcd()) return OpenEtcdStore(ToEtcd(options, std::move(url)));
  SqliteOptions sqlite;
  sqlite.path = std::move(url.path);
  sqlite.owner = {options.service, options.organisation};
  sqlite.purpose = options.purpose;
  sqlite.clock = options.clock;
  return OpenSqliteStore(std::move(sqlite));
}

absl::Status FinishStore(const StoreOptions& options, std::unique_ptr<Store> store) {
  ASSIGN_OR_RETURN(const StoreUrl url, ParseStoreUrl(options.url));
  if (url.is_etcd()) return FinishEtcdStore(store.get());
  // It lets go of the file.
  store = nullptr;
  return FinishSqliteStore(url.path);
}

absl::StatusOr<StoreOwner> ReadStoreOwner(const StoreOptions& options) {
  ASSIGN_OR_RETURN(StoreUrl url, ParseStoreUrl(options.url));
  return url.is_etcd() ? ReadEtcdOwner(ToEtcd(options, std::move(url))) : ReadSqliteOwner(url.path);
}

}  // namespace parley::store
