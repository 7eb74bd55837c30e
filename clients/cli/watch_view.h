// A task with its clients as a screen that is drawn again and again, and as lines for a log.
//
// Threads: a value as any other.
#ifndef PARLEY_CLIENTS_CLI_WATCH_VIEW_H_
#define PARLEY_CLIENTS_CLI_WATCH_VIEW_H_

#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "parley/task/v1/task_service.pb.h"

namespace parley::cli {

class WatchView {
 public:
  // Takes over what has changed. Returns a line for each client that has come to an end or to a hindrance by it, or
  // with `every_change` for each client in it.
  std::vector<std::string> Update(const task::v1::WatchTaskResponse& event, bool every_change);
  // Notes why the server is away. An event, or an empty reason, shows that it is back.
  void SetAway(std::string why) { away_ = std::move(why); }

  const task::v1::Task& task() const { return task_; }
  // Returns "  nginx-tls-7k3q r2 open: 41 confirmed, 3 hindered".
  std::string Summary() const;
  // Returns at most `rows` lines of at most `columns` columns: what the task is, how far it has come, how many clients
  // are in which state, and the clients in trouble by name, as many as fit.
  std::vector<std::string> Screen(int rows, int columns, absl::Time now) const;

 private:
  std::vector<std::string> Heading(size_t columns) const;
  std::vector<std::string> Troubles(size_t columns, absl::Time now) const;

  task::v1::Task task_;
  std::map<std::string, task::v1::Participant> clients_;
  std::string away_;
};

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_WATCH_VIEW_H_
