#include "clients/cli/log_text.h"

#include "absl/strings/str_cat.h"
#include "clients/cli/terminal.h"

namespace parley::cli {

std::string LogText(const LogRecord& record) {
  std::string about, error;
  for (const auto& [name, value] : record.fields) {
    if (value.empty()) continue;
    if (name == "error") {
      absl::StrAppend(&error, ": ", value);
    } else {
      absl::StrAppend(&about, about.empty() ? "" : ", ", name, " ", value);
    }
  }
  const absl::string_view level = record.level == "warning" ? "warning: " : "";
  return Printable(
      absl::StrCat("parley: ", level, record.message, about.empty() ? "" : absl::StrCat(" (", about, ")"), error));
}

}  // namespace parley::cli
