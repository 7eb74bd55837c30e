// Method exchange: the new tree is a folder in the place, and one rename swaps it with the target.
//
// Threads: none.
#ifndef PARLEY_CLIENTS_AGENT_EXCHANGE_METHOD_H_
#define PARLEY_CLIENTS_AGENT_EXCHANGE_METHOD_H_

#include <string>

#include "clients/agent/swap_method.h"
#include "clients/agent/target_folder.h"
#include "clients/agent/tree.h"

namespace parley::agent {

class ExchangeMethod final : public SwapMethod {
 public:
  // `folder` must outlive it.
  ExchangeMethod(const TargetFolder* folder, const TreeLimits& limits) : folder_(*folder), limits_(limits) {}

  absl::Status Stage(const NewSet& set, Journal* journal) override;
  absl::Status Swap(const Journal& journal) override;
  Place WhereIsWhat(const Journal& journal) const override;
  absl::Status SwapBack(const Journal& journal) override;
  absl::Status Discard() override;
  std::string OldSetPath() const override;

 private:
  absl::Status CopyOld(const NewSet& set, int target, int tree);
  absl::Status CheckUnchanged() const;

  const TargetFolder& folder_;
  const TreeLimits limits_;
  // Of the target, when the tree was built.
  std::string fingerprint_;
};

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_EXCHANGE_METHOD_H_
