// Copies what a service knows from one store to another, whatever their engines, and verifies the copy.
//
//   ASSIGN_OR_RETURN(const auto copy, StoreCopy::Make({.url =
//   "sqlite:/…/taskd.db"}, {.url = "etcd:https://…"},
//                                                     StoreCopy::Source::kStopped));
//   RETURN_IF_ERROR(copy->Finish());
//
// Guarantees: no service opens the target before Finish, and every entry was compared by then. A copy that was
// interrupted is begun anew by the next one. The source stays as it is.
//
// What stands under a lease is copied, and its lease begins anew, as it does when an engine is started again; but what
// a process of the service itself keeps up under its lease is not, as it says that this process serves. The target's
// revisions are above the source's, and who remembers one of those is told to read anew. docs/adr/0023-store-copy.md
// has the reasons.
//
// Threads: one at a time; everything blocks.
#ifndef PARLEY_LIB_BACKUP_STORE_COPY_H_
#define PARLEY_LIB_BACKUP_STORE_COPY_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/store/open_store.h"
#include "lib/store/store.h"

namespace parley::backup {

class StoreCopy {
 public:
  enum class Source {
    // No service has it open, or the copy is refused.
    kStopped,
    // Services may go on; it is copied as it is at one moment. Only for etcd.
    kServing,
  };

  struct Summary {
    // Whose data they are.
    store::StoreOwner owner;
    int64_t entries = 0;
    // The bytes of keys and values.
    int64_t bytes = 0;
    // How many of the entries stand under leases.
    int64_t leased = 0;
    // The SHA-256 of all keys and values, in hex.
    std::string digest;
  };

  // Copies, and compares by reading both sides. `from.service` may be empty for a database that says whose it is.
  // Returns FAILED_PRECONDITION: STORE_IN_USE if a process of the service serves from it, STORE_OWNER_UNKNOWN,
  // STORE_FOREIGN also if the services beside the target are of another organisation; ABORTED: STORE_CHANGED if the
  // source changed meanwhile, STORE_FILLED_TWICE if another copy to the target was begun; DATA_LOSS (COPY_DIFFERS); the
  // errors of store::OpenStore for one to read and one to fill.
  static absl::StatusOr<std::unique_ptr<StoreCopy>> Make(store::StoreOptions from, store::StoreOptions to,
                                                         Source source);

  const Summary& summary() const { return summary_; }
  // Lets services open the target. Once. Returns STORE_FILLED_TWICE or the errors of store::FinishStore.
  absl::Status Finish();

 private:
  StoreCopy(store::StoreOptions from, store::StoreOptions to, Source source)
      : from_(std::move(from)), to_(std::move(to)), source_(source) {}
  absl::Status Open();
  absl::Status Copy();
  absl::Status CheckNeighbours() const;

  store::StoreOptions from_;
  store::StoreOptions to_;
  const Source source_;
  std::unique_ptr<store::Store> read_;
  std::unique_ptr<store::Store> filled_;
  Summary summary_;
};

}  // namespace parley::backup

#endif  // PARLEY_LIB_BACKUP_STORE_COPY_H_
