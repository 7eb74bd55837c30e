#include "clients/agent/identity.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "clients/agent/agent.h"

namespace parley::agent {
namespace {

constexpr size_t kMaxClientName = 64;
constexpr size_t kMaxFactBytes = 256;

bool IsLowerOrDigit(char c) { return absl::ascii_islower(c) || absl::ascii_isdigit(c); }
bool IsClientLetter(char c) { return IsLowerOrDigit(c) || c == '.' || c == '_' || c == '-'; }

std::string Host() {
  char name[256] = "";
  if (gethostname(name, sizeof(name) - 1) != 0) return "";
  return name;
}

}  // namespace

bool IsTaskId(absl::string_view id) {
  return id.size() >= 3 && id.size() <= 32 && absl::ascii_islower(id.front()) && id.back() != '-' &&
         std::all_of(id.begin(), id.end(), [](char c) { return IsLowerOrDigit(c) || c == '-'; });
}

bool IsClientName(absl::string_view name) {
  return !name.empty() && name.size() <= kMaxClientName && IsLowerOrDigit(name.front()) &&
         std::all_of(name.begin(), name.end(), IsClientLetter);
}

std::string DefaultClientName() {
  std::string name;
  for (const char c : absl::AsciiStrToLower(Host())) {
    const char letter = IsClientLetter(c) ? c : '-';
    if ((!name.empty() || IsLowerOrDigit(letter)) && name.size() < kMaxClientName) name.push_back(letter);
  }
  return name.empty() ? "client" : name;
}

void AddFacts(std::map<std::string, std::string>* facts) {
  struct utsname machine;
  if (uname(&machine) == 0) {
    facts->emplace("os", absl::AsciiStrToLower(machine.sysname));
    facts->emplace("arch", machine.machine);
  }
  facts->emplace("host", Host().substr(0, kMaxFactBytes));
}

}  // namespace parley::agent
