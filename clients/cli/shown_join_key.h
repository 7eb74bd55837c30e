// The join key as the person sees it who carries it to the clients.
#ifndef PARLEY_CLIENTS_CLI_SHOWN_JOIN_KEY_H_
#define PARLEY_CLIENTS_CLI_SHOWN_JOIN_KEY_H_

#include <string>

#include "lib/base/secret.h"

namespace parley::cli {

// The key, where it is kept, and a QR code on a terminal.
void ShowJoinKey(const Secret& key, const std::string& file);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_SHOWN_JOIN_KEY_H_
