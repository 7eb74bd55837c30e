#include "clients/cli/pasted_secret.h"

#include "clients/cli/terminal.h"

namespace parley::cli {

absl::StatusOr<Secret> ReadPastedSecret(absl::string_view prompt, JudgePasted judge) {
  const WantsMore wants_more = [judge](const Secret& so_far) { return judge(so_far) == keys::PastedPart::kSome; };
  if (StdinIsTerminal()) return AskHiddenLines(prompt, wants_more);
  return ReadSecretLines(keys::kMaxPastingBytes, wants_more);
}

}  // namespace parley::cli
