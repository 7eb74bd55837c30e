// The path of a google.api.http option: literals, "*" for one segment, "{field=tasks/*}" for a field that takes what
// stands there, and a verb after ":". "**" is not supported: no name of ours has an unknown number of segments.
//
// Threads: const methods may be called from several threads at once.
#ifndef PARLEY_LIB_REST_PATH_TEMPLATE_H_
#define PARLEY_LIB_REST_PATH_TEMPLATE_H_

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace parley::rest {

// Pairs of a field and its value.
using Variables = std::vector<std::pair<std::string, std::string>>;

class PathTemplate {
 public:
  struct Variable {
    std::string field;
    // The variable takes the segments from `begin` to before `end`.
    size_t begin = 0;
    size_t end = 0;
  };

  // Returns INVALID_ARGUMENT (PATH_TEMPLATE) for what is no such path.
  static absl::StatusOr<PathTemplate> Parse(absl::string_view text);

  // Returns the values of the variables for a path as it stands in a request, without its query, or no value if the
  // path does not match. A "*" matches one segment that is not empty; escapes are undone, and an escaped slash matches
  // nothing.
  std::optional<Variables> Match(absl::string_view path) const;

  // Each segment is a literal, or "*".
  const std::vector<std::string>& segments() const { return segments_; }
  const std::vector<Variable>& variables() const { return variables_; }
  // Returns the verb without ":"; it may be empty.
  const std::string& verb() const { return verb_; }

 private:
  std::vector<std::string> segments_;
  std::vector<Variable> variables_;
  std::string verb_;
};

// Undoes percent escapes, and '+' for a space in a query. Returns no value for a malformed escape, a NUL, or what is
// not UTF-8.
std::optional<std::string> Unescape(absl::string_view text, bool query);

}  // namespace parley::rest

#endif  // PARLEY_LIB_REST_PATH_TEMPLATE_H_
