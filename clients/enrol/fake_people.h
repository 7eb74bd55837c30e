// Two people on the phone, for tests: each reads what their own device shows, and picks what they heard.
#ifndef PARLEY_CLIENTS_ENROL_FAKE_PEOPLE_H_
#define PARLEY_CLIENTS_ENROL_FAKE_PEOPLE_H_

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <optional>
#include <string>
#include <vector>

#include "clients/enrol/person.h"
#include "lib/base/mutex.h"

namespace parley::enrol {

// One direction of a call.
class Phone {
 public:
  Phone() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  ~Phone() { close(fd_); }

  void Say(absl::string_view code) {
    MutexLock lock(&mutex_);
    said_ = std::string(code);
    Signal();
  }
  // Nothing more will be said.
  void HangUp() {
    MutexLock lock(&mutex_);
    hung_up_ = true;
    Signal();
  }
  // What was said, once; empty when the other hung up; nothing while there is nothing.
  std::optional<std::string> Hear() {
    MutexLock lock(&mutex_);
    if (said_.empty() && !hung_up_) return std::nullopt;
    uint64_t count = 0;
    if (!hung_up_) (void)!read(fd_, &count, sizeof(count));
    return std::exchange(said_, "");
  }
  int fd() const { return fd_; }

 private:
  void Signal() {
    const uint64_t one = 1;
    (void)!write(fd_, &one, sizeof(one));
  }
  const int fd_;
  Mutex mutex_;
  std::string said_ ABSL_GUARDED_BY(mutex_);
  bool hung_up_ ABSL_GUARDED_BY(mutex_) = false;
};

class FakePerson final : public Person {
 public:
  // Speaks into one and listens to the other.
  FakePerson(Phone* mouth, Phone* ear) : mouth_(mouth), ear_(ear) {}

  // How often this one agrees to another attempt.
  int patience = 0;

  void OnPresence(Presence) override {}
  void OnDisconnected(const absl::Status&, absl::Time) override { ++disconnections; }
  void OnAttempt(uint32_t) override { ++attempts; }
  void OnReadAloud(const Secret& code) override { mouth_->Say(code.Expose()); }
  absl::StatusOr<std::optional<size_t>> Choose(const std::vector<Secret>& choices,
                                               const Meanwhile& meanwhile) override {
    ++questions;
    while (true) {
      pollfd fds[] = {{meanwhile.fd, POLLIN, 0}, {ear_->fd(), POLLIN, 0}};
      poll(fds, 2, -1);
      if (fds[0].revents != 0 && !meanwhile.handle()) return std::optional<size_t>();
      const std::optional<std::string> heard = ear_->Hear();
      if (!heard.has_value()) continue;
      for (size_t i = 0; i < choices.size(); ++i) {
        if (choices[i].Expose() == *heard) return std::optional<size_t>(i);
      }
      return std::optional<size_t>();
    }
  }
  void OnConfirmed() override { ++confirmations; }
  absl::StatusOr<bool> OnAttemptEnded(const AttemptEnd& end) override {
    ends.push_back(end);
    return end.may_go_on && (!end.person_decides || patience-- > 0);
  }

  int disconnections = 0;
  int attempts = 0;
  int questions = 0;
  int confirmations = 0;
  std::vector<AttemptEnd> ends;

 private:
  Phone* const mouth_;
  Phone* const ear_;
};

}  // namespace parley::enrol

#endif  // PARLEY_CLIENTS_ENROL_FAKE_PEOPLE_H_
