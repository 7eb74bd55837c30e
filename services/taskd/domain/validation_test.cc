#include "services/taskd/domain/validation.h"

#include <gtest/gtest.h>

#include "lib/base/error.h"
#include "lib/base/proto_time.h"

namespace parley::taskd {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

task::v1::CreateTaskRequest Good() {
  task::v1::CreateTaskRequest request;
  request.set_request_id("6f1b0a34-0c5e-4f0c-9f53-0f7c6c9a3a11");
  request.mutable_files()->add_files()->set_path("a");
  return request;
}

TEST(CreateTaskRequest, IsCheckedFieldByField) {
  EXPECT_TRUE(ValidateCreateTask(Good(), kNow).ok());
  const auto reason = [](auto change) {
    task::v1::CreateTaskRequest request = Good();
    change(&request);
    return Reason(ValidateCreateTask(request, kNow));
  };
  EXPECT_EQ(reason([](auto* r) { r->clear_request_id(); }), "REQUEST_ID_MALFORMED");
  EXPECT_EQ(reason([](auto* r) { r->set_task_id("Bad Name"); }), "NAME_MALFORMED");
  EXPECT_EQ(reason([](auto* r) { r->set_title(std::string(201, 'x')); }), "TITLE_TOO_LONG");
  EXPECT_EQ(reason([](auto* r) { r->mutable_ttl()->set_seconds(0); }), "TTL_OUT_OF_RANGE");
  EXPECT_EQ(reason([](auto* r) { r->mutable_ttl()->set_seconds(10LL * 366 * 86400); }), "TTL_OUT_OF_RANGE");
  EXPECT_EQ(reason([](auto* r) { r->mutable_ttl()->set_seconds(INT64_MAX); }), "TTL_OUT_OF_RANGE");
  EXPECT_EQ(reason([](auto* r) { *r->mutable_start_time() = ToProto(kNow + absl::Hours(25)); }),
            "START_TIME_OUT_OF_RANGE");
  EXPECT_EQ(reason([](auto* r) { r->set_expected_clients(-1); }), "NUMBER_NEGATIVE");
  EXPECT_EQ(reason([](auto* r) { r->mutable_leases()->mutable_apply()->set_nanos(1); }), "LEASE_OUT_OF_RANGE");
  EXPECT_EQ(reason([](auto* r) { r->clear_files(); }), "PAYLOAD_MISSING");
  EXPECT_EQ(reason([](auto* r) { r->mutable_files()->clear_files(); }), "PAYLOAD_EMPTY");
  EXPECT_EQ(
      reason([](auto* r) { r->mutable_files()->mutable_files(0)->set_content(std::string(kMaxInlineBytes + 1, 'x')); }),
      "PAYLOAD_TOO_LARGE");
  EXPECT_EQ(reason([](auto* r) { r->mutable_signed_manifest(); }), "TASK_ID_MISSING");
}

TEST(NegotiateRequest, IsBoundedInEveryField) {
  task::v1::NegotiateRequest request;
  EXPECT_EQ(Reason(ValidateNegotiate(request)), "SEQUENCE_MALFORMED");
  request.set_sequence(1);
  EXPECT_EQ(Reason(ValidateNegotiate(request)), "MESSAGE_MISSING");
  request.mutable_progress()->set_state(task::v1::Participant::STATE_CONFIRMED);
  EXPECT_EQ(Reason(ValidateNegotiate(request)), "STATE_NOT_REPORTED");
  request.mutable_progress()->set_state(task::v1::Participant::STATE_ROLLED_BACK);
  request.mutable_progress()->set_detail(std::string(4097, 'x'));
  EXPECT_EQ(Reason(ValidateNegotiate(request)), "TEXT_TOO_LONG");
  request.mutable_decline()->set_code("because");
  EXPECT_EQ(Reason(ValidateNegotiate(request)), "DECLINE_CODE");
  request.mutable_declare()->set_installed_digest("short");
  EXPECT_EQ(Reason(ValidateNegotiate(request)), "DIGEST_MALFORMED");
  for (int i = 0; i < 65; ++i) (*request.mutable_declare()->mutable_facts())[std::to_string(i)] = "x";
  EXPECT_EQ(Reason(ValidateNegotiate(request)), "TOO_MANY_LABELS");
  request.mutable_counter();
  EXPECT_EQ(Reason(ValidateNegotiate(request)), "WINDOW_MALFORMED");
}

TEST(Declaration, IsBoundedInEveryField) {
  const auto reason = [](auto change) {
    task::v1::NegotiateRequest request;
    request.set_sequence(1);
    change(request.mutable_declare());
    return Reason(ValidateNegotiate(request));
  };
  EXPECT_EQ(reason([](auto* d) { d->set_setup_digest(std::string(31, 'x')); }), "DIGEST_MALFORMED");
  EXPECT_EQ(reason([](auto* d) { d->set_setup_digest(std::string(32, 'x')); }), "");
  EXPECT_EQ(reason([](auto* d) { d->set_instance(std::string(15, 'x')); }), "INSTANCE_MALFORMED");
  EXPECT_EQ(reason([](auto* d) { d->set_instance(std::string(17, 'x')); }), "INSTANCE_MALFORMED");
  EXPECT_EQ(reason([](auto* d) { d->set_instance(std::string(16, 'x')); }), "");
  EXPECT_EQ(reason([](auto* d) { d->set_taken_over(std::string(4097, 'x')); }), "TEXT_TOO_LONG");
  EXPECT_EQ(reason([](auto* d) { d->set_taken_over(std::string(4096, 'x')); }), "");
  for (const char* code : {"", "Disk_full", "disk full", "disk-full", "\xc3\xa4", "a\nb"}) {
    EXPECT_EQ(reason([code](auto* d) { d->mutable_hindrance()->set_code(code); }), "HINDRANCE_CODE") << code;
  }
  EXPECT_EQ(reason([](auto* d) { d->mutable_hindrance()->set_code(std::string(65, 'x')); }), "HINDRANCE_CODE");
  EXPECT_EQ(reason([](auto* d) { d->mutable_hindrance()->set_code(std::string(64, 'x')); }), "");
  EXPECT_EQ(reason([](auto* d) {
              d->mutable_hindrance()->set_code("clock");
              d->mutable_hindrance()->set_detail(std::string(4097, 'x'));
            }),
            "TEXT_TOO_LONG");
}

TEST(JoinKeyExpiry, IsWithinTheTask) {
  google::protobuf::Duration ttl;
  const absl::Time end = kNow + absl::Hours(1);
  EXPECT_EQ(*JoinKeyExpiry(nullptr, kNow, end), end);
  EXPECT_EQ(Reason(JoinKeyExpiry(&ttl, kNow, end).status()), "TTL_OUT_OF_RANGE");
  ttl.set_seconds(7200);
  EXPECT_EQ(Reason(JoinKeyExpiry(&ttl, kNow, end).status()), "TTL_OUT_OF_RANGE");
  ttl.set_seconds(1);
  EXPECT_EQ(*JoinKeyExpiry(&ttl, kNow, end), kNow + absl::Seconds(1));
}

}  // namespace
}  // namespace parley::taskd
