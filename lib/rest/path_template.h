// The path of a google.api.http option: literals, "*" for one segment, "{field=tasks/*}" for a field that takes what
// stands there, and a verb after ":". Not "**": no name of ours has an unknown number of segments.
#ifndef PARLEY_LIB_REST_PATH_TEMPLATE_H_
#define PARLEY_LIB_REST_PATH_TEMPLATE_H_

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace parley::rest {

// Field and value.
using Variables = std::vector<std::pair<std::string, std::string>>;

class PathTemplate {
 public:
  struct Variable {
    std::string field;
    // Segments from `begin` to before `end`.
    size_t begin = 0;
    size_t end = 0;
  };

  // INVALID_ARGUMENT (PATH_TEMPLATE).
  static absl::StatusOr<PathTemplate> Parse(absl::string_view text);

  // What the variables are for a path as it stands in a request, without its query. Nothing when it does not match. A
  // "*" matches one segment that is not empty; escapes are undone, and an escaped slash matches nothing.
  std::optional<Variables> Match(absl::string_view path) const;

  // A literal, or "*".
  const std::vector<std::string>& segments() const { return segments_; }
  const std::vector<Variable>& variables() const { return variables_; }
  // Without ":"; may be empty.
  const std::string& verb() const { return verb_; }

 private:
  std::vector<std::string> segments_;
  std::vector<Variable> variables_;
  std::string verb_;
};

// Undoes percent escapes, and '+' for a space when it is a query's. Nothing for a malformed escape, a NUL, or what is
// not UTF-8.
std::optional<std::string> Unescape(absl::string_view text, bool query);

}  // namespace parley::rest

#endif  // PARLEY_LIB_REST_PATH_TEMPLATE_H_
