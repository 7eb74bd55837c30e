// Collects everything that is wrong with a configuration, for --check-config.
//
// The check makes nothing, and opens nothing for writing or listening, so that it may run beside the service itself.
//
// Threads: one at a time.
#ifndef PARLEY_LIB_SERVICE_CONFIG_CHECK_H_
#define PARLEY_LIB_SERVICE_CONFIG_CHECK_H_

#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace parley::service {

class ConfigCheck {
 public:
  // Checks an address of this machine, with a port that no other flag has.
  void Listens(absl::string_view flag, const std::string& address);
  // Checks an address that others can dial: "host:port" that is neither every address nor port 0. An empty text is
  // good.
  void Dialled(absl::string_view flag, const std::string& address);
  // Checks a folder that this user may write to, or can make.
  void Folder(absl::string_view flag, const std::string& path);
  // Checks the folder of a file that will be made. An empty text is good.
  void ParentFolder(absl::string_view flag, const std::string& path);
  // Adds what something else found out about a flag.
  void Found(absl::string_view flag, const absl::Status& status);

  // Returns one sentence for each problem, and none if all is well.
  const std::vector<std::string>& problems() const { return problems_; }

 private:
  std::vector<std::string> problems_;
  std::set<std::string> listens_;
};

}  // namespace parley::service

#endif  // PARLEY_LIB_SERVICE_CONFIG_CHECK_H_
