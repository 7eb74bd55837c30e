// How a new set is put in place of the old one.
#ifndef PARLEY_CLIENTS_AGENT_METHOD_H_
#define PARLEY_CLIENTS_AGENT_METHOD_H_

namespace parley::agent {

enum class Method {
  // Whichever the target can bear; exchange where both are possible.
  kAutomatic,
  // The whole folder by one rename: a reader sees the old set or the new one.
  kExchange,
  // One rename for each file, with the old ones kept until the update is decided: a reader in the middle may see both
  // sets, and after any crash it is one of them again.
  kFiles,
};

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_METHOD_H_
