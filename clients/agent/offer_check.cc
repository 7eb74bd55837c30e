#include "clients/agent/offer_check.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "clients/agent/operator_check.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/payload/manifest.h"

namespace parley::agent {
namespace {

absl::Status Expired(absl::Time when) {
  return Error(absl::StatusCode::kFailedPrecondition, "MANIFEST_EXPIRED",
               absl::StrCat("by this machine's clock the manifest expired at ",
                            absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", when, absl::UTCTimeZone()),
                            "; mend the clock if it is wrong, or ask the operator to publish it again"));
}

}  // namespace

OfferCheck::Verdict OfferCheck::Verify(const task::v1::Offer& offer, const std::string& verification_key) {
  if (!manifest_.has_value() || offer.manifest().manifest() != manifest_bytes_) {
    manifest_.reset();
    auto verified = payload::VerifyManifest(offer.manifest(), verification_key, task_, absl::InfinitePast());
    if (!verified.ok()) return {verified.status(), Blame::kSet};
    manifest_ = *std::move(verified);
    manifest_bytes_ = offer.manifest().manifest();
  }
  const absl::Time expire_time = ToTime(manifest_->expire_time());
  if (options_.clock->Now() < expire_time) return {};
  // An honest server does not offer what has expired by its own clock, and its deadline is never after the expiry. So
  // it is one of the two clocks that is wrong, unless the offer contradicts itself.
  return {Expired(expire_time), ToTime(offer.deadline()) > expire_time ? Blame::kSet : Blame::kMoment};
}

OfferCheck::Verdict OfferCheck::Judge(const task::v1::Offer& offer, const std::string& verification_key,
                                      const TargetOwner& owner) {
  signer_.reset();
  Verdict verdict = Verify(offer, verification_key);
  if (!verdict.status.ok()) return verdict;
  absl::Status status = owner.Check(task_, *manifest_);
  if (status.ok()) {
    // Without a chain nothing can be said of the offer, good or bad.
    auto signer = CheckOperator(options_, offer.manifest());
    status = signer.status();
    if (signer.ok()) signer_ = *std::move(signer);
  }
  return {status, BlameOf(status)};
}

}  // namespace parley::agent
