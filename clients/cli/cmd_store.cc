// parley store: what the services keep their data in.
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "clients/cli/command.h"
#include "clients/cli/format.h"
#include "clients/cli/output.h"
#include "clients/cli/store_options.h"
#include "clients/cli/terminal.h"
#include "lib/backup/store_copy.h"
#include "lib/base/error.h"

namespace parley::cli {
namespace {

struct CopyFlags {
  std::string from, to, service;
  EtcdFiles etcd;
};

ExitCode ShowCopy(const Globals& globals, const CopyFlags& flags, const backup::StoreCopy::Summary& summary) {
  const std::string& service = summary.owner.service;
  if (globals.json()) {
    return JsonEvent("copied and verified")
        .Text("from", flags.from)
        .Text("to", flags.to)
        .Text("service", service)
        .Number("entries", summary.entries)
        .Number("bytes", summary.bytes)
        .Number("leased", summary.leased)
        .Text("digest", summary.digest)
        .Print();
  }
  PrintDone("copied and verified  ", Printable(flags.to));
  PrintLine("    ", service, ": ", summary.entries, " entries, ", BytesText(summary.bytes), ", SHA-256 ",
            summary.digest.substr(0, 16), "…");
  PrintLine(Dim(absl::StrCat("    Start ", service, " with --store ", Printable(flags.to),
                             ", and move away what was copied: nothing may start on that any more.")));
  return kSuccess;
}

absl::StatusOr<ExitCode> Copy(const Globals& globals, const CopyFlags& flags) {
  ASSIGN_OR_RETURN(store::StoreOptions from, StoreAt(flags.from, flags.etcd, flags.service));
  ASSIGN_OR_RETURN(store::StoreOptions to, StoreAt(flags.to, flags.etcd, flags.service));
  ASSIGN_OR_RETURN(const store::StoreUrl url, store::ParseStoreUrl(flags.from));
  if (url.is_etcd() && flags.service.empty()) {
    return UsageError("an etcd has the data of several services; say with --service whose to copy");
  }
  ASSIGN_OR_RETURN(const auto copy,
                   backup::StoreCopy::Make(std::move(from), std::move(to), backup::StoreCopy::Source::kStopped));
  RETURN_IF_ERROR(copy->Finish());
  return ShowCopy(globals, flags, copy->summary());
}

}  // namespace

void AddStore(Command app, Globals* globals) {
  Command store = AddGroup(app, "store", "Move what the services know to another store");
  auto flags = std::make_shared<CopyFlags>();
  Command copy = AddCommand(store, globals, "copy", "Copy a service's store to another engine, or to another place",
                            kNoGlobals, flags, &Copy);
  copy.AddOption("from", flags->from, "The store to copy, as the service's --store names it").Required();
  copy.AddOption("to", flags->to, "Where to copy it: nothing may be there").Required();
  copy.AddChoice("--service", flags->service, {"keyd", "taskd", "enrolld"},
                 "Whose data to copy (default: as the database says)");
  AddEtcdFiles(copy, &flags->etcd);
  copy.Footer(
      "A store is sqlite:PATH or etcd:https://HOST:PORT[,…][/PREFIX]. All processes of the services must be stopped,\n"
      "and the copy is compared before any service can open it. A copy that was interrupted is begun anew by the\n"
      "same command. Key files are not in a store: give the services the same ones afterwards.\n"
      "Examples:\n"
      "  parley store copy sqlite:/var/lib/parley/taskd/taskd.db etcd:https://etcd-0.example:2379/example \\\n"
      "      --store-ca etcd-ca.pem --store-cert admin.pem --store-key admin.key\n"
      "  parley store copy --service taskd etcd:unix:/run/etcd.sock sqlite:/var/lib/parley/taskd/taskd.db");
}

}  // namespace parley::cli
