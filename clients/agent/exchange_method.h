// Method exchange: the new tree is a folder in the place, and one rename swaps it with the target.
//
// Threads: none.
#ifndef PARLEY_CLIENTS_AGENT_EXCHANGE_METHOD_H_
#define PARLEY_CLIENTS_AGENT_EXCHANGE_METHOD_H_

#include <string>
#include <utility>

#include "clients/agent/swap_method.h"
#include "clients/agent/target_folder.h"
#include "clients/agent/tree.h"

namespace parley::agent {

class ExchangeMethod final : public SwapMethod {
 public:
  // `folder` must outlive it. `proc` is "/proc"; empty to take no notice of other programs.
  ExchangeMethod(const TargetFolder* folder, const TreeLimits& limits, std::string proc)
      : folder_(*folder), limits_(limits), proc_(std::move(proc)) {}

  absl::Status Stage(const NewSet& set, Journal* journal) override;
  absl::Status Swap(const Journal& journal) override;
  Place WhereIsWhat(const Journal& journal) const override;
  absl::Status SwapBack(const Journal& journal) override;
  std::string OldSetPath() const override;

 private:
  absl::Status CopyOld(const NewSet& set, int target, int tree);
  absl::Status CheckUnchanged() const;

  const TargetFolder& folder_;
  const TreeLimits limits_;
  const std::string proc_;
  // Of the target, when the tree was built.
  std::string fingerprint_;
};

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_EXCHANGE_METHOD_H_
