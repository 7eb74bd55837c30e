// How a new set is put in place of the old one.
#ifndef PARLEY_CLIENTS_AGENT_METHOD_H_
#define PARLEY_CLIENTS_AGENT_METHOD_H_

namespace parley::agent {

enum class Method {
  // The one that the target can bear, and exchange if it can bear both.
  kAutomatic,
  // The whole folder is exchanged by one rename: a reader sees the old set or the new one.
  kExchange,
  // Each file is renamed, and the old ones are kept until the update is decided: a reader may see a mixture meanwhile,
  // and after any crash it is one of the two sets again.
  kFiles,
};

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_METHOD_H_
