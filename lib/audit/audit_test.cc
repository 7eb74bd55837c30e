#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "lib/audit/audit_buffer.h"
#include "lib/audit/audit_chain.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/mutex.h"

namespace parley::audit {
namespace {

using key::v1::AuditEntry;
using key::v1::AuditEvent;

AuditEntry MakeEntry(const AuditMark& before, absl::string_view action) {
  AuditEvent event;
  event.set_sequence(before.sequence + 1);
  event.set_action(std::string(action));
  AuditEntry entry;
  entry.set_event_bytes(event.SerializeAsString());
  entry.set_hash(ChainHash(before.hash, entry.event_bytes()));
  return entry;
}

std::vector<AuditEntry> MakeLog(int length, absl::string_view action = "credential.issued") {
  std::vector<AuditEntry> log;
  AuditMark mark;
  for (int i = 0; i < length; ++i) {
    log.push_back(MakeEntry(mark, absl::StrCat(action, i)));
    mark = {i + 1, log.back().hash()};
  }
  return log;
}

// "" when the log verifies, else the reason.
std::string Verify(const std::vector<AuditEntry>& log, int64_t last_sequence,
                   std::optional<AuditMark> known = std::nullopt) {
  AuditVerifier verifier(std::move(known));
  for (const AuditEntry& entry : log) {
    if (const absl::Status status = verifier.Add(entry); !status.ok()) {
      EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
      return Reason(status);
    }
  }
  return Reason(verifier.Finish(last_sequence));
}

TEST(AuditChain, AWholeLogVerifies) {
  EXPECT_EQ(Verify(MakeLog(20), 20), "");
  EXPECT_EQ(Verify({}, 0), "");
}

// Made by: printf 'parley audit v1\0' + 32 zero bytes + "event", through sha256sum.
TEST(AuditChain, HashesAsSpecified) {
  EXPECT_EQ(HexEncode(ChainHash(AuditMark().hash, "event")),
            "dba8f30f4c5b3c086ead15cd23c9db906a1fe1f37eab9d5d409edf864d168b15");
}

TEST(AuditChain, FindsAChangedEntry) {
  for (size_t victim : {0, 7, 19}) {
    std::vector<AuditEntry> log = MakeLog(20);
    AuditEvent event;
    event.ParseFromString(log[victim].event_bytes());
    event.set_actor("nobody");
    log[victim].set_event_bytes(event.SerializeAsString());
    EXPECT_EQ(Verify(log, 20), "AUDIT_TAMPERED");
  }
}

TEST(AuditChain, FindsAChangedEntryWhoseOwnHashWasMadeAnew) {
  std::vector<AuditEntry> log = MakeLog(20);
  log[7] = MakeEntry({7, log[6].hash()}, "nothing.happened");
  EXPECT_EQ(Verify(log, 20), "AUDIT_TAMPERED");
}

TEST(AuditChain, FindsADroppedEntry) {
  for (size_t victim : {0, 7, 18}) {
    std::vector<AuditEntry> log = MakeLog(20);
    log.erase(log.begin() + static_cast<ptrdiff_t>(victim));
    EXPECT_EQ(Verify(log, 20), "AUDIT_TAMPERED");
  }
}

TEST(AuditChain, FindsASequenceThatSkips) {
  std::vector<AuditEntry> log = MakeLog(3);
  log.push_back(MakeEntry({7, log.back().hash()}, "credential.issued"));
  EXPECT_EQ(Verify(log, 4), "AUDIT_GAP");
}

TEST(AuditChain, FindsReorderedEntries) {
  std::vector<AuditEntry> log = MakeLog(20);
  std::swap(log[4], log[5]);
  EXPECT_EQ(Verify(log, 20), "AUDIT_TAMPERED");
}

TEST(AuditChain, FindsATruncatedAnswerAndATruncatedLog) {
  const std::vector<AuditEntry> log = MakeLog(20);
  const std::vector<AuditEntry> cut(log.begin(), log.begin() + 15);
  EXPECT_EQ(Verify(cut, 20), "AUDIT_TRUNCATED");
  // The log itself was cut and says so: only who remembers can tell.
  EXPECT_EQ(Verify(cut, 15), "");
  EXPECT_EQ(Verify(cut, 15, AuditMark{20, log[19].hash()}), "AUDIT_TRUNCATED");
}

TEST(AuditChain, FindsALogWrittenAnew) {
  const std::vector<AuditEntry> log = MakeLog(20);
  EXPECT_EQ(Verify(MakeLog(25, "invented"), 25, AuditMark{20, log[19].hash()}), "AUDIT_REWRITTEN");
  EXPECT_EQ(Verify(log, 20, AuditMark{20, log[19].hash()}), "");
}

// A sink that can be shut.
class Sink {
 public:
  absl::Status Take(const std::vector<AuditEvent>& events) {
    MutexLock lock(&mutex_);
    ++calls_;
    changed_.NotifyAll();
    if (shut_) return absl::UnavailableError("shut");
    for (const AuditEvent& event : events) events_.push_back(event);
    return absl::OkStatus();
  }
  void Shut(bool shut) {
    MutexLock lock(&mutex_);
    shut_ = shut;
  }
  void WaitForCall() {
    MutexLock lock(&mutex_);
    while (calls_ == 0) changed_.Wait(&mutex_);
  }
  std::vector<AuditEvent> events() {
    MutexLock lock(&mutex_);
    return events_;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  bool shut_ ABSL_GUARDED_BY(mutex_) = false;
  int calls_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<AuditEvent> events_ ABSL_GUARDED_BY(mutex_);
};

AuditBuffer::Options MakeOptions(Sink* sink, Clock* clock) {
  AuditBuffer::Options options;
  options.service = "taskd";
  options.sink = [sink](const std::vector<AuditEvent>& events) { return sink->Take(events); };
  options.capacity = 10;
  options.retry = absl::Milliseconds(1);
  options.clock = clock;
  return options;
}

AuditEvent MakeEvent(absl::string_view action) {
  AuditEvent event;
  event.set_action(std::string(action));
  return event;
}

TEST(AuditBuffer, PassesEventsOnInOrderAndComplete) {
  Sink sink;
  FakeClock clock;
  AuditBuffer buffer(MakeOptions(&sink, &clock));
  for (int i = 0; i < 5; ++i) buffer.Record(MakeEvent(absl::StrCat("join_key.revoked", i)));
  ASSERT_TRUE(buffer.Drain(absl::Seconds(30)).ok());
  ASSERT_EQ(sink.events().size(), 5);
  for (int i = 0; i < 5; ++i) {
    const AuditEvent event = sink.events()[i];
    EXPECT_EQ(event.action(), absl::StrCat("join_key.revoked", i));
    EXPECT_EQ(event.service(), "taskd");
    EXPECT_EQ(event.id().size(), 36);
    EXPECT_EQ(event.time().seconds(), absl::ToUnixSeconds(clock.Now()));
  }
}

TEST(AuditBuffer, KeepsEventsUntilTheSinkTakesThem) {
  Sink sink;
  FakeClock clock;
  sink.Shut(true);
  AuditBuffer buffer(MakeOptions(&sink, &clock));
  buffer.Record(MakeEvent("task.aborted"));
  sink.WaitForCall();
  EXPECT_EQ(Reason(buffer.Drain(absl::Milliseconds(1))), "AUDIT_NOT_SENT");
  sink.Shut(false);
  ASSERT_TRUE(buffer.Drain(absl::Seconds(30)).ok());
  EXPECT_EQ(sink.events().size(), 1);
}

TEST(AuditBuffer, RefusalsCannotPushOutKeyOperations) {
  Sink sink;
  FakeClock clock;
  sink.Shut(true);
  AuditBuffer::Options options = MakeOptions(&sink, &clock);
  options.retry = absl::Hours(1);  // After its first call the sink is left alone, so that no batch is under way.
  AuditBuffer buffer(std::move(options));
  buffer.Record(MakeEvent("rpc.refused"));
  sink.WaitForCall();
  for (int i = 0; i < 1000; ++i) {
    AuditEvent refused = MakeEvent("rpc.refused");
    refused.set_actor(absl::StrCat("device/web-", i));
    buffer.Record(std::move(refused));
  }
  for (int i = 0; i < 4; ++i) buffer.Record(MakeEvent("join_key.revoked"));
  sink.Shut(false);
  ASSERT_TRUE(buffer.Drain(absl::Seconds(30)).ok());
  int operations = 0;
  std::string dropped;
  for (const AuditEvent& event : sink.events()) {
    operations += event.action() == "join_key.revoked";
    if (event.action() == "audit.dropped") dropped = event.detail();
  }
  EXPECT_EQ(operations, 4);
  EXPECT_THAT(dropped, testing::StartsWith("995 events"));
}

TEST(AuditBuffer, RefusalsOfOneKindAreOneEventAndTheirNumber) {
  Sink sink;
  FakeClock clock;
  AuditBuffer buffer(MakeOptions(&sink, &clock));
  for (int i = 0; i < 50; ++i) {
    for (const char* actor : {"operator/olga", "operator/oscar"}) {
      AuditEvent refused = MakeEvent("rpc.refused");
      refused.set_actor(actor);
      refused.set_outcome("ROLE_NOT_ALLOWED");
      buffer.Record(std::move(refused));
    }
  }
  ASSERT_TRUE(buffer.Drain(absl::Seconds(30)).ok());
  ASSERT_EQ(sink.events().size(), 4);
  for (const size_t i : {2, 3}) {
    EXPECT_EQ(sink.events()[i].action(), "rpc.refused");
    EXPECT_EQ(sink.events()[i].outcome(), "ROLE_NOT_ALLOWED");
    EXPECT_EQ(sink.events()[i].detail(), "refused 49 times more within a minute");
    EXPECT_NE(sink.events()[i].id(), sink.events()[i - 2].id());
  }
}

TEST(AuditBuffer, CountsRefusalsForAWindowAndTellsByItself) {
  Sink sink;
  FakeClock clock;
  AuditBuffer::Options options = MakeOptions(&sink, &clock);
  options.refusal_window = absl::Milliseconds(1);
  AuditBuffer buffer(std::move(options));
  // The second one may already be in the next window; then there is another first one.
  while (sink.events().size() < 3) buffer.Record(MakeEvent("rpc.refused"));
}

TEST(AuditBuffer, CutsAndCleansTexts) {
  Sink sink;
  FakeClock clock;
  AuditBuffer buffer(MakeOptions(&sink, &clock));
  AuditEvent event = MakeEvent("task.created");
  event.set_detail("a\n\xFF" + std::string(5000, 'x'));
  buffer.Record(std::move(event));
  ASSERT_TRUE(buffer.Drain(absl::Seconds(30)).ok());
  EXPECT_EQ(sink.events()[0].detail().size(), 1000);
  EXPECT_THAT(sink.events()[0].detail(), testing::StartsWith("a??x"));
}

}  // namespace
}  // namespace parley::audit
