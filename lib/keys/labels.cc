#include "lib/keys/labels.h"

#include <algorithm>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "lib/base/error.h"

namespace parley::keys {
namespace {

absl::Status Malformed(absl::string_view sentence) { return InvalidArgument("LABEL_MALFORMED", sentence); }

}  // namespace

absl::Status CheckSizes(const Labels& labels, absl::string_view what) {
  if (labels.size() > kMaxLabels) {
    return InvalidArgument("TOO_MANY_LABELS", "there are ", labels.size(), " ", what, ", over the limit of ",
                           kMaxLabels);
  }
  for (const auto& [key, value] : labels) {
    if (key.empty() || key.size() > kMaxLabelBytes || value.size() > kMaxLabelBytes) {
      return Malformed(absl::StrCat("one of the ", what, " has an empty name, or over 256 bytes in name or value"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckLabels(const Labels& labels) {
  RETURN_IF_ERROR(CheckSizes(labels, "labels"));
  for (const auto& [key, value] : labels) {
    if (absl::StartsWith(key, kFactPrefix)) {
      return Malformed(
          "the name of a label cannot begin with \"fact:\", because selectors look at facts by such names");
    }
  }
  return absl::OkStatus();
}

bool AreSame(const Labels& one, const Labels& other) {
  return one.size() == other.size() && std::all_of(one.begin(), one.end(), [&](const auto& label) {
           const auto found = other.find(label.first);
           return found != other.end() && found->second == label.second;
         });
}

std::string ShowLabels(const Labels& labels) {
  return absl::StrJoin(std::map<std::string, std::string>(labels.begin(), labels.end()), ", ",
                       absl::PairFormatter("="));
}

}  // namespace parley::keys
