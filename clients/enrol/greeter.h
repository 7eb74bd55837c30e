// Lets a newcomer in: compares codes with it, states in certificates that its keys belong to the organisation, and
// hands it its credential.
//
//   Greeter greeter(options, keyd.get());
//   RETURN_IF_ERROR(greeter.Run());   // greeter.newcomer() says who it was
//
// Threads: one thread. Run blocks.
#ifndef PARLEY_CLIENTS_ENROL_GREETER_H_
#define PARLEY_CLIENTS_ENROL_GREETER_H_

#include <string>
#include <vector>

#include "clients/chain/trust_client.h"
#include "clients/enrol/party.h"
#include "lib/trust/certificate.h"
#include "parley/enrol/v1/payload.pb.h"

namespace parley::enrol {

class Greeter final : public Party {
 public:
  struct Enrolment {
    std::string user_id;
    std::string user_name;
    access::v1::Role role = access::v1::ROLE_UNSPECIFIED;
    std::string device_id;
    std::string device_label;
  };

  // The enrolment in the device file says whom to let in: a user with this name and role, or, of kind device, a further
  // device of this device's own user. `keyd` must outlive the greeter.
  Greeter(PartyOptions options, trust::TrustClient* keyd);

  // Returns whom keyd has, or may have, enrolled, after a Run that succeeded or failed. Without a device_id it is
  // nobody.
  const Enrolment& newcomer() const { return newcomer_; }

 private:
  absl::StatusOr<Secret> MakePayload(int step, const Secret& received) override;
  // Makes the certificates for this newcomer, and keeps them in the device file.
  absl::Status MakeCertificates(const v1::Newcomer& newcomer);
  absl::Status CheckCertificates(const v1::Newcomer& newcomer);
  absl::StatusOr<trust::v1::EnrolResponse> Enrol(const v1::Newcomer& newcomer);
  absl::StatusOr<std::vector<trust::v1::SignedCertificate>> KeptCertificates() const;

  trust::TrustClient* const keyd_;
  Enrolment newcomer_;
};

}  // namespace parley::enrol

#endif  // PARLEY_CLIENTS_ENROL_GREETER_H_
