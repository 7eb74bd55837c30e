// The keys and revisions of one store among those of an etcd.
//
// Threads: const methods may be called from several threads at once.
#ifndef PARLEY_LIB_STORE_ETCD_KEY_SPACE_H_
#define PARLEY_LIB_STORE_ETCD_KEY_SPACE_H_

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "lib/store/store.h"

namespace parley::store {

// A store that was filled from elsewhere goes on above the revisions that its data had there, though etcd counts its
// own. Those that were given out before it was filled are not kept.
struct RevisionSpace {
  // What is added to etcd's revisions; at least 0.
  int64_t offset = 0;
  // The first one that is kept, as the store's callers see it.
  int64_t first = 0;

  bool keeps(int64_t revision) const { return revision >= first; }
  // 0, which stands for the newest or for no revision, stays.
  int64_t ToEtcd(int64_t revision) const { return revision == 0 ? 0 : revision - offset; }
  int64_t FromEtcd(int64_t revision) const { return revision == 0 ? 0 : revision + offset; }
};

class KeySpace {
 public:
  KeySpace(absl::string_view prefix, absl::string_view service)
      : root_(absl::StrCat(prefix, "/", service, "/")), data_(root_ + "data/") {}

  // Everything that belongs to the store lies under this.
  const std::string& root() const { return root_; }
  // The entry that says whose store it is.
  std::string format_key() const { return root_ + "format"; }

  std::string ToEtcd(absl::string_view key) const { return absl::StrCat(data_, key); }
  std::string FromEtcd(absl::string_view key) const { return std::string(key.substr(data_.size())); }
  KeyRange ToEtcd(const KeyRange& range) const {
    return {ToEtcd(range.begin), range.end.empty() ? KeyRange::Prefix(data_).end : ToEtcd(range.end)};
  }

  const RevisionSpace& revisions() const { return revisions_; }
  void SetRevisions(const RevisionSpace& revisions) { revisions_ = revisions; }

 private:
  const std::string root_;
  const std::string data_;
  RevisionSpace revisions_;
};

}  // namespace parley::store

#endif  // PARLEY_LIB_STORE_ETCD_KEY_SPACE_H_
