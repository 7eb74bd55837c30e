// A task's join key on its way from the server to the person who carries it to the clients.
//
// Threads: free functions without state.
#ifndef PARLEY_CLIENTS_OPERATOR_JOIN_KEY_H_
#define PARLEY_CLIENTS_OPERATOR_JOIN_KEY_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lib/base/secret.h"

namespace parley::ops {

// Returns the key that the server made, but for this task and with the verification key that this machine knows to be
// the task's: whatever the server put there, it cannot make clients believe another one. Wipes `pasted`. Returns the
// errors of keys::ParseJoinKey.
absl::StatusOr<Secret> ComposeJoinKey(std::string* pasted, const std::string& task_id,
                                      absl::string_view verification_key);

// Writes {task_id}.join into `folder`, with mode 0600; {task_id}-2.join and so on if there is one already. Returns the
// path. Returns ALREADY_EXISTS (JOIN_KEY_FILES) if there are a hundred, or the errors of WriteSecretFile.
absl::StatusOr<std::string> WriteJoinKeyFile(const std::string& folder, const std::string& task_id, const Secret& key);

}  // namespace parley::ops

#endif  // PARLEY_CLIENTS_OPERATOR_JOIN_KEY_H_
