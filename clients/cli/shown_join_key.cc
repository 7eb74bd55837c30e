#include "clients/cli/shown_join_key.h"

#include "absl/strings/str_cat.h"
#include "clients/cli/terminal.h"

namespace parley::cli {

void ShowJoinKey(const Secret& key, const std::string& file) {
  PrintLine("  on each client, run `parley join --into FOLDER` and paste:");
  PrintLine("");
  PrintLine(key.Expose());
  PrintLine("");
  const std::string picture = StdoutIsTerminal() ? QrCode(key) : "";
  if (!picture.empty()) PrintLine(picture);
  if (!file.empty()) PrintLine(Dim(absl::StrCat("  also in ", file, ", which only you can read")));
}

}  // namespace parley::cli
