#include "clients/cli/pasting.h"

#include "absl/strings/str_cat.h"
#include "clients/cli/terminal.h"

namespace parley::cli {

absl::StatusOr<Secret> ReadPastedSecret(absl::string_view prompt, keys::PastedPart (*judge)(const Secret& pasted)) {
  const WantsMore wants_more = [judge](const Secret& so_far) { return judge(so_far) == keys::PastedPart::kSome; };
  if (!StdinIsTerminal()) return ReadSecretLines(keys::kMaxPastingBytes, wants_more);
  return AskHidden(prompt,
                   "there is no terminal to ask at; give the secret by standard input, a file or the environment",
                   wants_more);
}

void ShowJoinKey(const Secret& key, const std::string& file) {
  PrintLine("  on each client, run `parley join --into FOLDER` and paste:\n");
  PrintLine(key.Expose());
  PrintLine("");
  const std::string picture = StdoutIsTerminal() ? QrCode(key) : "";
  if (!picture.empty()) PrintLine(picture);
  if (!file.empty()) PrintLine(Dim(absl::StrCat("  also in ", file, ", which only you can read")));
}

}  // namespace parley::cli
