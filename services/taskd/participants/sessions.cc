#include "services/taskd/participants/sessions.h"

#include <utility>

#include "lib/base/error.h"

namespace parley::taskd {

absl::Status StreamReplaced() {
  return Error(absl::StatusCode::kAborted, "STREAM_REPLACED",
               "the client has opened another stream, which takes the place of this one");
}

std::shared_ptr<ClientSession> Sessions::Replace(const std::string& task, const std::string& client,
                                                 std::shared_ptr<ClientSession> session) {
  const std::shared_ptr<ClientSession> arrived = session;
  absl::Status closed;
  {
    MutexLock lock(&mutex_);
    closed = closed_;
    std::shared_ptr<ClientSession>& place = tasks_[task][client];
    std::swap(place, session);
  }
  if (!closed.ok()) arrived->End(closed);
  return session;
}

bool Sessions::Remove(const std::string& task, const std::string& client, const ClientSession* session) {
  MutexLock lock(&mutex_);
  const auto clients = tasks_.find(task);
  if (clients == tasks_.end()) return false;
  const auto found = clients->second.find(client);
  if (found == clients->second.end() || found->second.get() != session) return false;
  clients->second.erase(found);
  if (clients->second.empty()) tasks_.erase(clients);
  return true;
}

std::shared_ptr<ClientSession> Sessions::Find(const std::string& task, const std::string& client) const {
  MutexLock lock(&mutex_);
  const auto clients = tasks_.find(task);
  if (clients == tasks_.end()) return nullptr;
  const auto found = clients->second.find(client);
  return found == clients->second.end() ? nullptr : found->second;
}

std::vector<Sessions::Entry> Sessions::OfTask(const std::string& task) const {
  std::vector<Entry> sessions;
  MutexLock lock(&mutex_);
  const auto clients = tasks_.find(task);
  if (clients == tasks_.end()) return sessions;
  for (const auto& [client, session] : clients->second) sessions.push_back({client, session});
  return sessions;
}

void Sessions::Close(const absl::Status& status) {
  std::vector<std::shared_ptr<ClientSession>> sessions;
  {
    MutexLock lock(&mutex_);
    closed_ = status;
    if (status.ok()) return;
    for (const auto& [task, clients] : tasks_) {
      for (const auto& [client, session] : clients) sessions.push_back(session);
    }
  }
  for (const auto& session : sessions) session->End(status);
}

}  // namespace parley::taskd
