#include "lib/rest/path_template.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/utf8.h"

namespace parley::rest {
namespace {

absl::Status Malformed(absl::string_view text) {
  return InvalidArgument("PATH_TEMPLATE", "the path template '", text,
                         "' is malformed; write it as /v1/{name=things/*}:verb");
}

bool IsSegment(absl::string_view text) {
  return !text.empty() && (text == "*" || text.find_first_of("*{}=:%") == absl::string_view::npos);
}

}  // namespace

absl::StatusOr<PathTemplate> PathTemplate::Parse(absl::string_view text) {
  PathTemplate parsed;
  absl::string_view rest = text;
  const size_t closing = rest.rfind('}');
  const size_t colon = rest.find(':', closing == absl::string_view::npos ? 0 : closing);
  if (colon != absl::string_view::npos) {
    parsed.verb_ = std::string(rest.substr(colon + 1));
    if (!IsSegment(parsed.verb_) || absl::StrContains(parsed.verb_, "/")) return Malformed(text);
    rest = rest.substr(0, colon);
  }
  if (!absl::ConsumePrefix(&rest, "/")) return Malformed(text);
  while (true) {
    // One segment, or one variable with several.
    const bool variable = absl::ConsumePrefix(&rest, "{");
    const size_t end = rest.find(variable ? '}' : '/');
    if (variable && end == absl::string_view::npos) return Malformed(text);
    absl::string_view part = rest.substr(0, end);
    rest = end == absl::string_view::npos ? absl::string_view() : rest.substr(end + (variable ? 1 : 0));
    Variable made;
    made.begin = parsed.segments_.size();
    if (variable) {
      const size_t equals = part.find('=');
      made.field = std::string(part.substr(0, equals));
      part = equals == absl::string_view::npos ? absl::string_view("*") : part.substr(equals + 1);
    }
    for (const absl::string_view segment : absl::StrSplit(part, '/')) {
      if (!IsSegment(segment)) return Malformed(text);
      parsed.segments_.emplace_back(segment);
    }
    made.end = parsed.segments_.size();
    if (variable) parsed.variables_.push_back(std::move(made));
    if (rest.empty()) return parsed;
    if (!absl::ConsumePrefix(&rest, "/")) return Malformed(text);
  }
}

std::optional<Variables> PathTemplate::Match(absl::string_view path) const {
  if (!absl::ConsumePrefix(&path, "/")) return std::nullopt;
  // No name of ours has a colon, so the first one begins the verb.
  const size_t colon = path.find(':');
  const absl::string_view verb = colon == absl::string_view::npos ? absl::string_view() : path.substr(colon + 1);
  if (verb != verb_ || (colon != absl::string_view::npos && verb.empty())) return std::nullopt;
  std::vector<std::string> found;
  for (const absl::string_view each : absl::StrSplit(path.substr(0, colon), '/')) {
    std::optional<std::string> segment = Unescape(each, /*query=*/false);
    if (!segment.has_value() || segment->empty() || absl::StrContains(*segment, "/")) return std::nullopt;
    found.push_back(*std::move(segment));
  }
  if (found.size() != segments_.size()) return std::nullopt;
  for (size_t i = 0; i < found.size(); ++i) {
    if (segments_[i] != "*" && segments_[i] != found[i]) return std::nullopt;
  }
  Variables values;
  for (const Variable& variable : variables_) {
    std::string value;
    for (size_t i = variable.begin; i < variable.end; ++i) {
      absl::StrAppend(&value, i == variable.begin ? "" : "/", found[i]);
    }
    values.emplace_back(variable.field, std::move(value));
  }
  return values;
}

std::optional<std::string> Unescape(absl::string_view text, bool query) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      const std::optional<std::string> byte = HexDecode(absl::AsciiStrToLower(text.substr(i + 1, 2)));
      if (!byte.has_value() || byte->size() != 1) return std::nullopt;
      plain += *byte;
      i += 2;
    } else {
      plain += query && text[i] == '+' ? ' ' : text[i];
    }
  }
  if (absl::StrContains(plain, absl::string_view("\0", 1)) || !IsUtf8(plain)) return std::nullopt;
  return plain;
}

}  // namespace parley::rest
