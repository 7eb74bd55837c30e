#include "services/enrolld/domain/validation.h"

#include <string>

#include "gtest/gtest.h"
#include "lib/base/error.h"

namespace parley::enrolld {
namespace {

using enrol::v1::CreateInvitationRequest;
using enrol::v1::Invitation;

CreateInvitationRequest Good() {
  CreateInvitationRequest request;
  request.set_request_id("01234567-89ab-cdef-0123-456789abcdef");
  request.set_kind(Invitation::KIND_USER);
  request.set_user_name("bob");
  request.set_role(access::v1::ROLE_OPERATOR);
  return request;
}

template <typename Change>
std::string ReasonAfter(Change change) {
  CreateInvitationRequest request = Good();
  change(&request);
  return Reason(ValidateCreate(request));
}

TEST(ValidateCreate, TakesWhatFits) {
  EXPECT_TRUE(ValidateCreate(Good()).ok());
  EXPECT_EQ(TtlOf(Good()), absl::Hours(48));
}

TEST(ValidateCreate, NamesEachFault) {
  EXPECT_EQ(ReasonAfter([](auto* request) { request->set_request_id("1"); }), "REQUEST_ID_MALFORMED");
  EXPECT_EQ(ReasonAfter([](auto* request) { request->set_user_name(""); }), "USER_NAME_MALFORMED");
  EXPECT_EQ(ReasonAfter([](auto* request) { request->set_user_name("Bob"); }), "USER_NAME_MALFORMED");
  EXPECT_EQ(ReasonAfter([](auto* request) { request->set_user_name(std::string(49, 'a')); }), "USER_NAME_MALFORMED");
  EXPECT_EQ(ReasonAfter([](auto* request) { request->set_role(access::v1::ROLE_SERVICE); }), "ROLE_NOT_ENROLLED");
  EXPECT_EQ(ReasonAfter([](auto* request) { request->clear_role(); }), "ROLE_NOT_ENROLLED");
  EXPECT_EQ(ReasonAfter([](auto* request) { request->clear_kind(); }), "KIND_MISSING");
  EXPECT_EQ(ReasonAfter([](auto* request) { request->set_kind(Invitation::KIND_DEVICE); }), "DEVICE_IS_ONES_OWN");
  EXPECT_EQ(ReasonAfter([](auto* request) { request->mutable_ttl()->set_seconds(59); }), "TTL_RANGE");
  EXPECT_EQ(ReasonAfter([](auto* request) { request->mutable_ttl()->set_seconds(31 * 86400); }), "TTL_RANGE");
  EXPECT_EQ(ReasonAfter([](auto* request) { request->mutable_ttl()->set_seconds(INT64_MAX); }), "TTL_RANGE");
  EXPECT_EQ(ReasonAfter([](auto* request) { request->mutable_ttl()->set_seconds(INT64_MIN); }), "TTL_RANGE");
}

TEST(ValidateEmail, TakesPlainAddressesAlone) {
  for (const char* const email : {"bob@example.com", "b.o+b@mail.example.co", "o'neil@example.com", "a@b"}) {
    EXPECT_TRUE(ValidateEmail(email).ok()) << email;
  }
}

TEST(ValidateEmail, RefusesWhatCouldForgeAHeaderOrASecondRecipient) {
  for (const char* const email :
       {"", "bob", "@example.com", "bob@", "bob@example.com\r\nBcc: eve@example.net", "bob@example.com\n",
        "bob@example.com, eve@example.net", "bob@example.com>", "<bob@example.com>", "Bob <bob@example.com>",
        "bob@example.com eve", "\"bob\"@example.com", "bob@exa\tmple.com", "bob@example.com.", "bob@[127.0.0.1]",
        "bob@a@b", "bob@example.com\\r\\nDATA"}) {
    EXPECT_EQ(Reason(ValidateEmail(email)), "EMAIL_MALFORMED") << email;
  }
  EXPECT_EQ(Reason(ValidateEmail(std::string("bob\0@example.com", 16))), "EMAIL_MALFORMED");
  EXPECT_EQ(Reason(ValidateEmail(std::string(65, 'a') + "@example.com")), "EMAIL_MALFORMED");
}

TEST(ValidateText, RefusesWhatATerminalWouldObey) {
  EXPECT_TRUE(ValidateText("wrong person, sorry – Bob", "reason").ok());
  EXPECT_EQ(Reason(ValidateText("\x1b[2J", "reason")), "TEXT_MALFORMED");
  EXPECT_EQ(Reason(ValidateText("two\nlines", "reason")), "TEXT_MALFORMED");
  EXPECT_EQ(Reason(ValidateText("\xff", "reason")), "TEXT_MALFORMED");
  EXPECT_EQ(Reason(ValidateText(std::string(201, 'a'), "reason")), "TEXT_MALFORMED");
}

}  // namespace
}  // namespace parley::enrolld
