// Keeps manifests of the revisions on offer in memory, because every client of a task is sent the same one.
//
// Threads: all methods may be called from any thread; Get blocks on the store if the revision is not in memory.
#ifndef PARLEY_SERVICES_TASKD_STORE_MANIFEST_CACHE_H_
#define PARLEY_SERVICES_TASKD_STORE_MANIFEST_CACHE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "lib/base/bounded_cache.h"
#include "services/taskd/store/task_store.h"

namespace parley::taskd {

class ManifestCache {
 public:
  // `store` must outlive this.
  ManifestCache(const TaskStore* store, size_t cache_bytes) : store_(store), cache_(cache_bytes) {}

  // Returns NOT_FOUND (REVISION_NOT_FOUND) if there is none.
  absl::StatusOr<std::shared_ptr<const Revision>> Get(const std::string& task, int64_t revision) {
    const std::string key = absl::StrCat(task, "/", revision);
    if (auto cached = cache_.Find(key)) return cached;
    ASSIGN_OR_RETURN(auto read, store_->GetRevision(task, revision));
    cache_.Put(key, read, read->signed_manifest.manifest().size() + read->chunks.size() * 2 * sizeof(std::string));
    return read;
  }

 private:
  const TaskStore* const store_;
  BoundedCache<Revision> cache_;
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_STORE_MANIFEST_CACHE_H_
