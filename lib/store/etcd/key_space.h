// The keys of one store among those of an etcd.
//
// Threads: const methods may be called from several threads at once.
#ifndef PARLEY_LIB_STORE_ETCD_KEY_SPACE_H_
#define PARLEY_LIB_STORE_ETCD_KEY_SPACE_H_

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "lib/store/store.h"

namespace parley::store {

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

 private:
  const std::string root_;
  const std::string data_;
};

}  // namespace parley::store

#endif  // PARLEY_LIB_STORE_ETCD_KEY_SPACE_H_
