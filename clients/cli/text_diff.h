// What has changed between two texts, line by line, in the form of `diff -u`.
//
// Threads: pure functions.
#ifndef PARLEY_CLIENTS_CLI_TEXT_DIFF_H_
#define PARLEY_CLIENTS_CLI_TEXT_DIFF_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace parley::cli {

// No larger texts are compared.
inline constexpr size_t kMostDiffBytes = 64 * 1024;

// Returns whether the content may be shown as text: UTF-8 without NUL, of at most kMostDiffBytes.
bool IsSmallText(absl::string_view content);

// Returns the hunks, each with its head "@@ -1,3 +1,4 @@" and three lines around what has changed, without line breaks;
// none if the texts are equal. Returns no value if too many lines differ to be compared in a moment.
std::optional<std::vector<std::string>> UnifiedDiff(absl::string_view before, absl::string_view after);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_TEXT_DIFF_H_
