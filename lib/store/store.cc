#include "lib/store/store.h"

namespace parley::store {

KeyRange KeyRange::Prefix(absl::string_view prefix) {
  KeyRange range{std::string(prefix), std::string(prefix)};
  while (!range.end.empty() && static_cast<uint8_t>(range.end.back()) == 0xFF) range.end.pop_back();
  if (!range.end.empty()) ++range.end.back();
  return range;
}

Transaction& Transaction::IfAbsent(std::string key) {
  conditions.push_back({std::move(key), 0});
  return *this;
}

Transaction& Transaction::IfUnchanged(const Entry& entry) {
  conditions.push_back({entry.key, entry.mod_revision});
  return *this;
}

Transaction& Transaction::Set(std::string key, std::string value, LeaseId lease) {
  puts.push_back({std::move(key), std::move(value), lease});
  return *this;
}

Transaction& Transaction::Delete(std::string key) {
  deletes.push_back(std::move(key));
  return *this;
}

size_t CommitBytes(const Transaction& transaction) {
  size_t bytes = 0;
  for (const Transaction::Condition& condition : transaction.conditions) bytes += condition.key.size();
  for (const Put& put : transaction.puts) bytes += put.key.size() + put.value.size();
  for (const std::string& key : transaction.deletes) bytes += key.size();
  return bytes;
}

}  // namespace parley::store
