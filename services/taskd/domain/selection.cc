#include "services/taskd/domain/selection.h"

#include <algorithm>
#include <string>

#include "absl/strings/strip.h"

namespace parley::taskd {
namespace {

// The value that a selector's key is compared with; null when the device has none.
const std::string* ValueOf(absl::string_view key, const Labels& labels, const Labels& facts) {
  const Labels& where = absl::ConsumePrefix(&key, keys::kFactPrefix) ? facts : labels;
  const auto found = where.find(std::string(key));
  return found == where.end() ? nullptr : &found->second;
}

bool Matches(const task::v1::Task& task, const Labels& labels, const Labels& facts) {
  for (const auto& [key, value] : task.selector()) {
    const std::string* const own = ValueOf(key, labels, facts);
    if (own == nullptr || *own != value) return false;
  }
  for (const auto& [key, any] : task.selector_any()) {
    const std::string* const own = ValueOf(key, labels, facts);
    if (own == nullptr) return false;
    if (std::find(any.values().begin(), any.values().end(), *own) == any.values().end()) return false;
  }
  return !task.selector().empty() || !task.selector_any().empty();
}

}  // namespace

Selected Select(const task::v1::Task& task, const Labels* labels, const Labels& facts) {
  if (labels == nullptr) return Selected::kUnknown;
  return Matches(task, *labels, facts) ? Selected::kYes : Selected::kNo;
}

Selected Select(const ParticipantRecord& client, const task::v1::Task& task, const Labels* labels) {
  if (!client.own_credential()) return Selected::kYes;
  return Select(task, labels, client.participant().facts());
}

Labels FactsOf(const Labels& facts, const Labels& from_earlier_version) {
  Labels all = facts;
  for (const auto& [key, value] : from_earlier_version) all.insert({key, value});
  return all;
}

}  // namespace parley::taskd
