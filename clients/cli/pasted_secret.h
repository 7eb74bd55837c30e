// A join key or an invitation's link, as people paste them: folded over lines, quoted, typed line by line.
#ifndef PARLEY_CLIENTS_CLI_PASTED_SECRET_H_
#define PARLEY_CLIENTS_CLI_PASTED_SECRET_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lib/base/secret.h"
#include "lib/keys/pasting.h"

namespace parley::cli {

using JudgePasted = keys::PastedPart (*)(const Secret& pasted);

// Reads until the secret is whole or is none: at the terminal, when standard input is one, else from standard input;
// empty when that ends before it begins. Whether it is good is for its parser to say. The errors of AskHiddenLines and
// ReadSecretLines (terminal.h).
absl::StatusOr<Secret> ReadPastedSecret(absl::string_view prompt, JudgePasted judge);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_PASTED_SECRET_H_
