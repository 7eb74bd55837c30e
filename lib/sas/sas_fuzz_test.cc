// Bytes as a message and as a saved state; and bytes as what a relay and two careless people do to an exchange.
#include <stdlib.h>

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "lib/base/error.h"
#include "lib/sas/exchange.h"
#include "lib/sas/reason.h"
#include "lib/sas/testing.h"

namespace parley::sas {
namespace {

const Context kContext{"acme", "inv-7k3q", 1, Kind::kUser};

void Require(bool condition) {
  if (!condition) abort();
}

void CheckReason(const absl::Status& status) { Require(status.ok() || absl::StartsWith(Reason(status), "SAS_")); }

void CheckBytes(absl::string_view bytes) {
  const auto message = ReadMessage(kContext, bytes);
  CheckReason(message.status());
  if (message.ok()) {
    Require(SpeaksAt(message->sender, message->step));
    Require(EncodeHeader(kContext, message->sender, message->step) + std::string(message->body) == bytes);
  }
  auto exchange = Exchange::RestoreState(Secret::CopyOf(bytes));
  CheckReason(exchange.status());
  if (!exchange.ok()) return;
  // What is read is written again, and does not crash when it is used.
  const auto again = Exchange::RestoreState(*exchange->SaveState());
  Require(again.ok() && again->next() == exchange->next() && again->payload() == exchange->payload());
  CheckReason(exchange->Receive(bytes).status());
  CheckReason(exchange->SendPayload(Secret(3)).status());
}

class Play {
 public:
  explicit Play(absl::string_view script) : script_(script), random_(1) {
    for (const Role role : {Role::kGreeter, Role::kClaimer}) {
      sides_.emplace(role, *ExchangeTestAccess::Begin(role, kContext, kBitsPerLetter, random_.Source()));
    }
    for (auto& [role, exchange] : sides_) Post(role, exchange.last_sent());
  }

  void Run() {
    while (!script_.empty()) {
      Move();
      for (auto& [role, exchange] : sides_) {
        Require((exchange.next() == Next::kEnded) == !exchange.ending().ok());
        Require(exchange.choices().empty() == (exchange.next() != Next::kChoice));
      }
      const Exchange &greeter = sides_.at(Role::kGreeter), &claimer = sides_.at(Role::kClaimer);
      const Keys &a = ExchangeTestAccess::keys(greeter), &b = ExchangeTestAccess::keys(claimer);
      if (greeter.confirmed() && claimer.confirmed() && !a.seal_greeter.empty() && !b.seal_greeter.empty()) {
        Require(a.seal_greeter == b.seal_greeter && a.seal_claimer == b.seal_claimer);
      }
      if (greeter.next() == Next::kDone) Require(claimer.next() == Next::kDone);
    }
  }

 private:
  uint8_t Byte() {
    if (script_.empty()) return 0;
    const uint8_t byte = static_cast<uint8_t>(script_[0]);
    script_.remove_prefix(1);
    return byte;
  }
  std::string Text() {
    const std::string text(script_.substr(0, Byte()));
    script_.remove_prefix(std::min(script_.size(), text.size()));
    return text;
  }

  void Move() {
    const uint8_t what = Byte();
    const Role role = what & 0x80 ? Role::kClaimer : Role::kGreeter;
    Exchange& exchange = sides_.at(role);
    std::deque<std::string>& inbox = inboxes_[role];
    const std::string front = inbox.empty() ? std::string() : inbox.front();
    switch (what & 0x0F) {
      case 0:
        if (!inbox.empty()) inbox.pop_front();
        return Post(role, exchange.Receive(front));
      case 1: {
        std::string changed = front + '\0';
        const size_t at = Byte() % changed.size();
        changed[at] = static_cast<char>(changed[at] ^ Byte());
        changed.resize(changed.size() - Byte() % 3 % changed.size());
        return Post(role, exchange.Receive(changed));
      }
      case 2:
        return Post(role, exchange.Receive(Text()));
      case 3: {
        const std::string header = EncodeHeader(kContext, Other(role), Byte());
        return Post(role, exchange.Receive(header + Text()));
      }
      case 4: {
        const uint8_t choice = Byte();
        return Post(role, exchange.Pick(choice == 0xFF ? std::nullopt : std::optional<size_t>(choice)));
      }
      case 5:  // Someone who heard well.
        return Post(role, exchange.Pick(ExchangeTestAccess::right_choice(exchange)));
      case 6:
        return Post(role, exchange.SendPayload(Secret::Take(Text())));
      case 7:
        if (auto state = exchange.SaveState(); state.ok()) exchange = *Exchange::RestoreState(*state);
        return;
      case 8:
        return Post(role, exchange.Receive(log_[Byte() % log_.size()]));
      case 9:
        CheckReason(exchange.Stop("stopped"));
        return;
      default:
        return;
    }
  }

  void Post(Role from, const absl::StatusOr<std::string>& message) {
    CheckReason(message.status());
    if (!message.ok() || message->empty()) return;
    inboxes_[Other(from)].push_back(*message);
    log_.push_back(*message);
  }

  absl::string_view script_;
  SeededRandom random_;
  std::map<Role, Exchange> sides_;
  std::map<Role, std::deque<std::string>> inboxes_;
  std::vector<std::string> log_;
};

}  // namespace
}  // namespace parley::sas

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view input(reinterpret_cast<const char*>(data), size);
  parley::sas::CheckBytes(input);
  if (size <= 256) parley::sas::Play(input).Run();
  return 0;
}
