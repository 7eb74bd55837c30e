#include "clients/enrol/greeter.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "clients/enrol/payload.h"
#include "lib/base/error.h"
#include "lib/base/may_pass.h"
#include "lib/crypto/kdf.h"

namespace parley::enrol {
namespace {

// Each needs somebody else to append to the chain in the same moment.
constexpr int kMostMoves = 10;

}  // namespace

Greeter::Greeter(PartyOptions options, trust::TrustClient* keyd)
    : Party(sas::Role::kGreeter, std::move(options)), keyd_(keyd) {}

absl::StatusOr<Secret> Greeter::MakePayload(int, const Secret& received) {
  ASSIGN_OR_RETURN(const v1::Newcomer newcomer, ReadNewcomer(received, enrolment().kind));
  ASSIGN_OR_RETURN(trust::v1::EnrolResponse response, Enrol(newcomer));
  ASSIGN_OR_RETURN(const std::vector<trust::v1::SignedCertificate> certificates, KeptCertificates());
  ASSIGN_OR_RETURN(const trust::v1::Certificate device, trust::ParseCertificate(certificates.back()));

  const device::Contents& own = options().device->contents();
  // This device's own record of its user's role may be older than the chain.
  if (enrolment().kind == sas::Kind::kDevice) newcomer_.role = response.credential().record().role();
  EnrolledPayload enrolled;
  enrolled->set_user(device.device().user());
  enrolled->set_device(device.device().device());
  enrolled->set_user_name(newcomer_.user_name);
  enrolled->set_role(newcomer_.role);
  enrolled->set_root_verification_key(own.root_key);
  enrolled->set_head_sequence(device.sequence());
  enrolled->set_head_hash(trust::HashOf(certificates.back()));
  enrolled.SetCredential(keys::FormatCredential(trust::ToCredential(response.mutable_credential())));
  if (enrolment().kind == sas::Kind::kDevice) enrolled.SetUserKeys(own.encryption_key, own.manifest_key);
  return enrolled.Serialize();
}

absl::StatusOr<trust::v1::EnrolResponse> Greeter::Enrol(const v1::Newcomer& newcomer) {
  for (int move = 0; move < kMostMoves; ++move) {
    if (enrolment().certificates.empty()) RETURN_IF_ERROR(MakeCertificates(newcomer));
    RETURN_IF_ERROR(CheckCertificates(newcomer));
    trust::v1::EnrolRequest request;
    request.set_request_id(enrolment().request_id);
    ASSIGN_OR_RETURN(const std::vector<trust::v1::SignedCertificate> certificates, KeptCertificates());
    for (const trust::v1::SignedCertificate& certificate : certificates) *request.add_certificates() = certificate;
    absl::StatusOr<trust::v1::EnrolResponse> response = keyd_->Enrol(request);
    if (response.ok() || MayPass(response.status())) return response;
    // It was refused, so keyd has none of these certificates.
    newcomer_ = Enrolment();
    RETURN_IF_ERROR(UpdateEnrolment([](device::Contents*, device::Enrolment* enrolment) {
      enrolment->certificates.clear();
      return absl::OkStatus();
    }));
    // Another certificate took their place: once more behind that one.
    if (Reason(response.status()) != "CHAIN_MOVED") return response;
  }
  return Error(absl::StatusCode::kUnavailable, "CHAIN_MOVED",
               "others change the organisation's certificates again and again; try once more in a moment");
}

absl::Status Greeter::MakeCertificates(const v1::Newcomer& newcomer) {
  const device::Contents& own = options().device->contents();
  ASSIGN_OR_RETURN(const trust::Chain chain, keyd_->FetchChain(own.root_key, own.head));
  ASSIGN_OR_RETURN(const crypto::SigningKey key, crypto::SigningKey::FromSeed(own.signing_seed));
  trust::CertificateMaker maker(chain, own.device_id, &key, options().clock->Now());
  std::vector<trust::v1::SignedCertificate> certificates;
  std::string user = own.user_id;
  if (enrolment().kind == sas::Kind::kUser) {
    user = trust::NewId();
    certificates.push_back(
        maker.AddUser({user, enrolment().user_name, enrolment().user_role, newcomer.encryption_key()}));
  }
  certificates.push_back(maker.AddDevice(user, {trust::NewId(), newcomer.device_label(), newcomer.verification_key()}));
  // What keyd would refuse is refused here, with the reason, and before anything is kept.
  trust::Chain tried = chain;
  RETURN_IF_ERROR(tried.AppendTogether(certificates, options().clock->Now()));
  return UpdateEnrolment([&](device::Contents* contents, device::Enrolment* enrolment) {
    contents->head = chain.head();
    enrolment->request_id = crypto::RandomUuid();
    for (const trust::v1::SignedCertificate& certificate : certificates) {
      enrolment->certificates.push_back(certificate.SerializeAsString());
    }
    return absl::OkStatus();
  });
}

absl::Status Greeter::CheckCertificates(const v1::Newcomer& newcomer) {
  const device::Contents& own = options().device->contents();
  ASSIGN_OR_RETURN(const std::vector<trust::v1::SignedCertificate> certificates, KeptCertificates());
  ASSIGN_OR_RETURN(const trust::v1::Certificate device, trust::ParseCertificate(certificates.back()));
  newcomer_ = {device.device().user(), own.user_name, own.role, device.device().device(), device.device().label()};
  bool same = device.device().verification_key() == newcomer.verification_key() &&
              device.device().label() == newcomer.device_label();
  if (enrolment().kind == sas::Kind::kUser) {
    ASSIGN_OR_RETURN(const trust::v1::Certificate user, trust::ParseCertificate(certificates.front()));
    newcomer_.user_name = user.user().name();
    newcomer_.role = user.user().role();
    same = same && user.user().encryption_key() == newcomer.encryption_key();
  }
  if (same) return absl::OkStatus();
  return Error(absl::StatusCode::kFailedPrecondition, "NEWCOMER_CHANGED",
               absl::StrCat("an earlier attempt may have enrolled ", newcomer_.user_name,
                            " with other keys than this device has; revoke what it enrolled, then invite again"));
}

absl::StatusOr<std::vector<trust::v1::SignedCertificate>> Greeter::KeptCertificates() const {
  std::vector<trust::v1::SignedCertificate> certificates;
  for (const std::string& bytes : enrolment().certificates) {
    if (!certificates.emplace_back().ParseFromString(bytes)) {
      return Error(absl::StatusCode::kInvalidArgument, "DEVICE_FILE_DAMAGED",
                   "the device file keeps no good certificates of this enrolment");
    }
  }
  const size_t expected = enrolment().kind == sas::Kind::kUser ? 2 : 1;
  if (certificates.size() == expected) return certificates;
  return Error(absl::StatusCode::kInvalidArgument, "DEVICE_FILE_DAMAGED",
               "the device file does not keep the certificates of this enrolment");
}

}  // namespace parley::enrol
