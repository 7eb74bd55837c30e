// The main function of tests that need EnterPrivateMachine. Where there is no such machine no test is run, which is a
// failure with CI=true and said otherwise.
#include <stdio.h>
#include <stdlib.h>

#include <string>

#include "gmock/gmock.h"
#include "lib/store/etcd/testing/private_machine.h"

int main(int argc, char** argv) {
  const std::string missing = parley::store::EnterPrivateMachine();
  testing::InitGoogleMock(&argc, argv);
  if (missing.empty()) return RUN_ALL_TESTS();
  printf("not run here: %s\n", missing.c_str());
  const char* const ci = getenv("CI");
  if (ci != nullptr && std::string(ci) == "true") return 1;
  testing::GTEST_FLAG(filter) = "-*";
  return RUN_ALL_TESTS();
}
