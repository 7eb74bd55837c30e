// For tests alone: contents with something in every field.
#ifndef PARLEY_LIB_DEVICE_TESTING_H_
#define PARLEY_LIB_DEVICE_TESTING_H_

#include <string>

#include "lib/device/contents.h"

namespace parley::device {

inline Contents ExampleContents() {
  Contents contents;
  contents.organisation = "example";
  contents.root_key = std::string(32, 'r');
  contents.user_id = std::string(16, 'a');
  contents.device_id = std::string(16, 'd');
  contents.user_name = "alice";
  contents.device_label = "Alice's laptop";
  contents.role = access::v1::ROLE_ADMIN;
  contents.signing_seed = Secret::CopyOf(std::string(32, 's'));
  contents.encryption_key = Secret::CopyOf(std::string(32, 'e'));
  contents.manifest_key = Secret::CopyOf(std::string(32, 'm'));
  keys::Credential credential;
  credential.role = access::v1::ROLE_ADMIN;
  credential.subject = "alice";
  credential.serial = std::string(32, '5');
  credential.not_after = absl::FromUnixSeconds(1'800'000'000);
  credential.keys.push_back({"keyd", "127.0.0.1:7444", "aWRlbnRpdHk", Secret::CopyOf(std::string(32, 'k'))});
  contents.credential = std::move(credential);
  contents.head = {7, std::string(32, 'h')};
  Enrolment enrolment;
  enrolment.role = sas::Role::kClaimer;
  enrolment.kind = sas::Kind::kDevice;
  enrolment.not_after = absl::FromUnixSeconds(1'800'000'000);
  enrolment.instance = std::string(16, 'i');
  enrolment.user_name = "bob";
  enrolment.user_role = access::v1::ROLE_OPERATOR;
  enrolment.attempts = {3, 2, true};
  enrolment.exchange = Secret::CopyOf("state");
  enrolment.link = Secret::CopyOf("link");
  enrolment.request_id = "request";
  enrolment.certificates = {"one", "two"};
  contents.enrolments.emplace("invitations/00", std::move(enrolment));
  return contents;
}

}  // namespace parley::device

#endif  // PARLEY_LIB_DEVICE_TESTING_H_
