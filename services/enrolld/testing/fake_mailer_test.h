// A mail server that takes or refuses mails as a test tells it.
#ifndef PARLEY_SERVICES_ENROLLD_TESTING_FAKE_MAILER_TEST_H_
#define PARLEY_SERVICES_ENROLLD_TESTING_FAKE_MAILER_TEST_H_

#include <map>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "lib/base/mutex.h"
#include "services/enrolld/mail/mailer.h"

namespace parley::enrolld {

// Threads: all methods may be called from any thread.
class FakeMailer final : public Mailer {
 public:
  const std::string& from() const override { return from_; }
  absl::Status Send(const std::string& to, const Secret& message) override {
    MutexLock lock(&mutex_);
    ++tries_;
    while (held_) changed_.Wait(&mutex_);
    if (!answer_.ok()) return answer_;
    sent_[to] = std::string(message.Expose());
    return absl::OkStatus();
  }
  void AnswerWith(absl::Status answer) {
    MutexLock lock(&mutex_);
    answer_ = std::move(answer);
  }
  // From now on mails are taken only after a release.
  void Hold() {
    MutexLock lock(&mutex_);
    held_ = true;
  }
  void Release() {
    MutexLock lock(&mutex_);
    held_ = false;
    changed_.NotifyAll();
  }
  std::string MailTo(const std::string& to) {
    MutexLock lock(&mutex_);
    return sent_[to];
  }
  int tries() {
    MutexLock lock(&mutex_);
    return tries_;
  }

 private:
  const std::string from_ = "parley@example.com";
  Mutex mutex_;
  CondVar changed_;
  bool held_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status answer_ ABSL_GUARDED_BY(mutex_);
  int tries_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::string, std::string> sent_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace parley::enrolld

#endif  // PARLEY_SERVICES_ENROLLD_TESTING_FAKE_MAILER_TEST_H_
