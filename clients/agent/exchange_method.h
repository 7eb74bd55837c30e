// Method exchange: the new tree is a folder in the place, and one rename exchanges it with the target.
//
// Threads: not thread-safe.
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
  // `folder` must outlive it. `proc` is "/proc" and `sys` is "/sys"; with an empty `proc` it takes no notice of other
  // programs.
  ExchangeMethod(const TargetFolder* folder, const TreeLimits& limits, std::string proc, std::string sys)
      : folder_(*folder), limits_(limits), proc_(std::move(proc)), sys_(std::move(sys)) {}

  absl::Status Stage(const NewSet& set, Journal* journal) override;
  absl::Status Swap(const Journal& journal) override;
  Place WhereIsWhat(const Journal& journal) const override;
  absl::Status CheckSwapped(const Journal& journal) const override;
  absl::Status SwapBack(const Journal& journal) override;
  std::string OldSetPath() const override;

 private:
  absl::Status CopyOld(const NewSet& set, int target, int tree);
  absl::Status BringBack(const Journal& journal);
  absl::Status SyncBoth() const;
  absl::Status CheckUnchanged(int root, const Journal& journal) const;

  const TargetFolder& folder_;
  const TreeLimits limits_;
  const std::string proc_;
  const std::string sys_;
};

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_EXCHANGE_METHOD_H_
