#include "clients/cli/watch_view.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "clients/cli/task_text.h"
#include "clients/cli/terminal.h"

namespace parley::cli {
namespace {

using task::v1::Participant;
using task::v1::Task;
using task::v1::WatchTaskResponse;
using testing::Test;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

Participant Client(const std::string& name, Participant::State state, const std::string& detail = "") {
  Participant client;
  client.set_name("tasks/site-aaaa/participants/" + name);
  client.set_state(state);
  client.set_revision(2);
  client.set_detail(detail);
  return client;
}

Participant Hindered(const std::string& name, const std::string& detail) {
  Participant client = Client(name, Participant::STATE_INELIGIBLE, detail);
  client.set_hindered(true);
  client.set_reason("disk_full");
  return client;
}

// 200 clients: 41 confirmed, 20 rolled back, 3 hindered, the rest on their way.
WatchTaskResponse LargeTask() {
  WatchTaskResponse event;
  Task* const task = event.mutable_task();
  task->set_name("tasks/site-aaaa");
  task->set_revision(2);
  task->set_state(Task::STATE_OPEN);
  task->mutable_counts()->set_joined(200);
  task->mutable_counts()->set_confirmed(41);
  task->mutable_counts()->set_rolled_back(20);
  task->mutable_counts()->set_hindered(3);
  task->mutable_counts()->set_waiting(136);
  for (int i = 0; i < 200; ++i) {
    const std::string name = absl::StrCat("web-", 100 + i);
    if (i < 41) {
      *event.add_participants() = Client(name, Participant::STATE_CONFIRMED);
    } else if (i < 61) {
      *event.add_participants() =
          Client(name, Participant::STATE_ROLLED_BACK, "nginx: [emerg] no such file\nthe command failed");
    } else if (i < 64) {
      *event.add_participants() = Hindered(name, "the disk of /etc/nginx is full");
    } else {
      *event.add_participants() = Client(name, Participant::STATE_OFFERED);
    }
  }
  return event;
}

TEST(WatchView, IsOneScreenForTwoHundredClients) {
  WatchView view;
  view.Update(LargeTask(), false);
  const std::vector<std::string> lines = view.Screen(23, 80, kNow);
  ASSERT_EQ(lines.size(), 23u);
  EXPECT_TRUE(absl::StartsWith(lines[0], "  site-aaaa r2  open until "));
  EXPECT_EQ(lines[1], "  41 of 200 confirmed");
  EXPECT_TRUE(absl::EndsWith(lines[2], " 20 %"));
  EXPECT_EQ(lines[3], "  41 confirmed, 136 waiting, 3 hindered, 20 rolled back");
  EXPECT_EQ(lines[4], "");
  EXPECT_EQ(lines[5], "  ✘ web-141  rolled back  nginx: [emerg] no such file; the command failed");
  EXPECT_EQ(lines[22], "  … and 6 more");
  for (const std::string& line : lines) EXPECT_LE(ColumnsOf(line), 79u) << line;
}

TEST(WatchView, HasRoomForAllThatAreInTrouble) {
  WatchView view;
  view.Update(LargeTask(), false);
  const std::vector<std::string> lines = view.Screen(200, 80, kNow);
  ASSERT_EQ(lines.size(), 5u + 23u);
  EXPECT_EQ(lines.back(), "  · web-163  hindered     the disk of /etc/nginx is full");
}

TEST(WatchView, FitsAnyTerminal) {
  WatchView view;
  view.Update(LargeTask(), false);
  for (int rows = 1; rows < 40; ++rows) {
    for (int columns = 8; columns < 130; columns += 11) {
      for (const char* away : {"", "127.0.0.1:7443 refused the connection"}) {
        view.SetAway(away);
        const std::vector<std::string> lines = view.Screen(rows, columns, kNow);
        EXPECT_LE(lines.size(), static_cast<size_t>(rows));
        for (const std::string& line : lines) EXPECT_LT(ColumnsOf(line), static_cast<size_t>(columns)) << line;
      }
    }
  }
}

TEST(WatchView, GivesUpTheBarForANameInALowWindow) {
  WatchView view;
  view.Update(LargeTask(), false);
  const std::vector<std::string> lines = view.Screen(4, 80, kNow);
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[2], "  41 confirmed, 136 waiting, 3 hindered, 20 rolled back");
  EXPECT_EQ(lines[3], "  … and 23 more");
}

TEST(WatchView, SaysThatTheServerIsAwayUntilItIsBack) {
  WatchView view;
  view.Update(LargeTask(), false);
  view.SetAway("refused");
  EXPECT_EQ(view.Screen(23, 80, kNow).back(), "  waiting for the server: refused");
  view.Update(WatchTaskResponse(), false);
  EXPECT_EQ(view.Screen(23, 80, kNow).back(), "  … and 6 more");
}

TEST(WatchView, HasALineForEachClientThatEndsAndNoneForItsWayThere) {
  WatchView view;
  const auto lines_of = [&view](const Participant& client) {
    WatchTaskResponse event;
    *event.add_participants() = client;
    return absl::StrJoin(view.Update(event, false), "|");
  };
  for (const auto state : {Participant::STATE_JOINED, Participant::STATE_OFFERED, Participant::STATE_TRANSFERRING,
                           Participant::STATE_APPLYING, Participant::STATE_CHECKING, Participant::STATE_LOST}) {
    EXPECT_EQ(lines_of(Client("web-1", state)), "");
  }
  EXPECT_EQ(lines_of(Hindered("web-1", "the disk is full")), "  · web-1  r2 hindered (the disk is full)");
  EXPECT_EQ(lines_of(Hindered("web-1", "the disk is still full")), "") << "the same hindrance in other words";
  EXPECT_EQ(lines_of(Client("web-1", Participant::STATE_CONFIRMED)), "  ✔ web-1  r2 confirmed");
  EXPECT_EQ(lines_of(Client("web-1", Participant::STATE_CONFIRMED)), "");
  Participant drifted = Client("web-1", Participant::STATE_CONFIRMED);
  drifted.set_drifted(true);
  EXPECT_EQ(lines_of(drifted), "  ✘ web-1  r2 confirmed, drifted");
}

TEST(WatchView, GivesEveryChangeWhenAsked) {
  WatchView view;
  EXPECT_EQ(view.Update(LargeTask(), true).size(), 200u);
}

TEST(WatchView, CannotBeSteeredByADetail) {
  WatchView view;
  WatchTaskResponse event = LargeTask();
  event.clear_participants();
  *event.add_participants() = Client("web-1", Participant::STATE_ROLLED_BACK, "\x1b[2J\x07 gone");
  for (const std::string& line : view.Update(event, false)) EXPECT_EQ(line.find('\x1b'), std::string::npos);
  for (const std::string& line : view.Screen(23, 80, kNow)) EXPECT_EQ(line.find('\x1b'), std::string::npos);
}

TEST(Members, AreInTwoColumnsAndASentence) {
  Participant client = Client("web-1", Participant::STATE_CONFIRMED);
  EXPECT_EQ(InstalledText(client), "r2") << "of a server from before installed_revision";
  Participant failed = Client("web-1", Participant::STATE_ROLLED_BACK);
  failed.set_installed_digest("of r1");
  failed.set_confirmed_revision(1);
  EXPECT_EQ(InstalledText(failed), "r1") << "of such a server too";
  client.set_installed_revision(1);
  client.set_drifted(true);
  EXPECT_EQ(InstalledText(client), "r1 drifted");
  EXPECT_EQ(WhyText(client, kNow), "what is installed is not what was confirmed");
  client.set_installed_revision(0);
  EXPECT_EQ(InstalledText(client), "none drifted");
  EXPECT_EQ(InstalledText(Client("web-1", Participant::STATE_OFFERED)), "none");

  EXPECT_EQ(ConnectedText(client, kNow), "not since taskd's start");
  client.mutable_disconnect_time()->set_seconds(absl::ToUnixSeconds(kNow - absl::Minutes(5)));
  EXPECT_EQ(ConnectedText(client, kNow), "not since 07:55 UTC");
  client.mutable_disconnect_time()->set_seconds(absl::ToUnixSeconds(kNow - absl::Hours(30)));
  EXPECT_EQ(ConnectedText(client, kNow), "not since 2027-01-14 02:00 UTC");
  client.set_connected(true);
  EXPECT_EQ(ConnectedText(client, kNow), "yes");

  client.mutable_duplicate_time()->set_seconds(absl::ToUnixSeconds(kNow));
  client.mutable_revoke_time()->set_seconds(absl::ToUnixSeconds(kNow));
  client.set_reason("check_failed");
  EXPECT_EQ(
      WhyText(client, kNow),
      "revoked 08:00 UTC; two machines hold this name, seen 08:00 UTC; check failed; what is installed is not what "
      "was confirmed");
  client.set_detail("one\ntwo");
  EXPECT_EQ(WhyText(client, kNow), "revoked 08:00 UTC; two machines hold this name, seen 08:00 UTC; one; two");
}

}  // namespace
}  // namespace parley::cli
