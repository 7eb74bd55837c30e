// A keyd in memory, for tests: it has a real chain of trust, and its credentials open nothing.
#ifndef PARLEY_CLIENTS_ENROL_FAKE_KEYD_H_
#define PARLEY_CLIENTS_ENROL_FAKE_KEYD_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "clients/chain/trust_client.h"
#include "lib/base/error.h"
#include "lib/base/mutex.h"
#include "lib/trust/certificate.h"
#include "lib/trust/testing.h"

namespace parley::enrol {

class FakeKeyd {
 public:
  explicit FakeKeyd(const trust::TestMember& founder)
      : founding_(trust::Founding::Make(founder.user, founder.device, absl::Now() - absl::Minutes(1))),
        certificates_(founding_.certificates) {}

  const std::string& root() const { return founding_.root_verification_key; }
  // What a dishonest one does with the chain before it gives it away.
  void set_forgery(std::function<void(std::vector<trust::v1::SignedCertificate>*)> forgery) {
    forgery_ = std::move(forgery);
  }
  // The next call of Enrol fails after it was done: the answer is lost.
  void set_lose_answer() { lose_answer_ = true; }
  std::vector<trust::v1::SignedCertificate> certificates() const {
    MutexLock lock(&mutex_);
    return certificates_;
  }
  trust::Chain chain() const {
    trust::Chain chain = *trust::Chain::Create(root());
    for (const auto& certificate : certificates()) chain.Append(certificate, absl::Now()).IgnoreError();
    return chain;
  }

  // A connection. The keyd must outlive it.
  std::unique_ptr<trust::TrustClient> Connect() { return std::make_unique<Connection>(this); }

 private:
  class Connection final : public trust::TrustClient {
   public:
    explicit Connection(FakeKeyd* keyd) : keyd_(keyd) {}
    absl::StatusOr<trust::Chain> FetchChain(absl::string_view root, const trust::Head& seen) override {
      ASSIGN_OR_RETURN(trust::Chain chain, trust::Chain::Create(root));
      RETURN_IF_ERROR(ExtendChain(&chain));
      RETURN_IF_ERROR(chain.Remembers(seen));
      return chain;
    }
    absl::Status ExtendChain(trust::Chain* chain) override {
      std::vector<trust::v1::SignedCertificate> certificates = keyd_->certificates();
      if (keyd_->forgery_ != nullptr) keyd_->forgery_(&certificates);
      for (size_t i = static_cast<size_t>(chain->head().sequence); i < certificates.size(); ++i) {
        RETURN_IF_ERROR(chain->Append(certificates[i], absl::Now()));
      }
      return chain->CheckWhole();
    }
    absl::StatusOr<trust::v1::EnrolResponse> Enrol(const trust::v1::EnrolRequest& request) override {
      return keyd_->Enrol(request);
    }

   private:
    FakeKeyd* const keyd_;
  };

  absl::StatusOr<trust::v1::EnrolResponse> Enrol(const trust::v1::EnrolRequest& request) {
    if (answers_.count(request.request_id()) == 0) {
      trust::Chain now = chain();
      RETURN_IF_ERROR(now.AppendTogether({request.certificates().begin(), request.certificates().end()}, absl::Now()));
      const trust::v1::Certificate device = *trust::ParseCertificate(*request.certificates().rbegin());
      const trust::User* const user = now.FindUser(device.device().user());
      trust::v1::EnrolResponse response;
      response.set_sequence(device.sequence());
      key::v1::IssueCredentialResponse& credential = *response.mutable_credential();
      credential.mutable_record()->set_name("credentials/" + std::string(32, 'c'));
      credential.mutable_record()->set_role(user->role);
      credential.mutable_record()->set_subject(user->name);
      credential.mutable_record()->mutable_expire_time()->set_seconds(4'000'000'000);
      key::v1::AudienceSecret& secret = *credential.add_secrets();
      secret.set_audience("keyd");
      secret.set_address("127.0.0.1:1");
      secret.set_identity("aWRlbnRpdHk");
      secret.set_secret("a credential's secret, 32 bytes.");
      MutexLock lock(&mutex_);
      certificates_.insert(certificates_.end(), request.certificates().begin(), request.certificates().end());
      answers_[request.request_id()] = std::move(response);
    }
    if (std::exchange(lose_answer_, false)) return absl::UnavailableError("the answer was lost");
    return answers_[request.request_id()];
  }

  const trust::Founding founding_;
  std::function<void(std::vector<trust::v1::SignedCertificate>*)> forgery_;
  bool lose_answer_ = false;
  std::map<std::string, trust::v1::EnrolResponse> answers_;
  mutable Mutex mutex_;
  std::vector<trust::v1::SignedCertificate> certificates_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace parley::enrol

#endif  // PARLEY_CLIENTS_ENROL_FAKE_KEYD_H_
