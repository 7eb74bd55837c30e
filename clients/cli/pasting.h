// Join keys and invitations' links, as people paste them (folded over lines, quoted, typed line by line), and as they
// see them.
//
// Threads: free functions, for one thread at a time.
#ifndef PARLEY_CLIENTS_CLI_PASTING_H_
#define PARLEY_CLIENTS_CLI_PASTING_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lib/base/secret.h"
#include "lib/keys/pasting.h"

namespace parley::cli {

// Reads until the secret is whole or is none: at the terminal, if standard input is one, or else from standard input.
// The secret is empty when that ends before it begins. Its parser says whether it is good. Returns the errors of
// AskHidden and ReadSecretLines (terminal.h).
absl::StatusOr<Secret> ReadPastedSecret(absl::string_view prompt, keys::PastedPart (*judge)(const Secret& pasted));

// Shows a join key to the person who carries it to the clients: its text, the file that it is kept in, unless that is
// empty, and a QR code on a terminal.
void ShowJoinKey(const Secret& key, const std::string& file);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_PASTING_H_
