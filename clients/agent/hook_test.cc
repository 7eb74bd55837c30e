#include "clients/agent/hook.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "gtest/gtest.h"

namespace parley::agent {
namespace {

HookResult RunCommand(const std::string& command, absl::Duration timeout = absl::Seconds(20)) {
  return RunHook({.command = command,
                  .variables = {{"PARLEY_TASK", "tasks/t"}, {"PARLEY_REVISION", "3"}},
                  .timeout = timeout,
                  .folder = "/",
                  .started = nullptr});
}

// Expects the process whose number was printed to have ended. It may be a zombie while its new parent is slow.
void ExpectSleeperGone(const HookResult& result) {
  int sleeper = 0;
  ASSERT_TRUE(absl::SimpleAtoi(result.output, &sleeper));
  const std::string state = "/proc/" + std::to_string(sleeper) + "/stat";
  if (access(state.c_str(), F_OK) == 0) EXPECT_NE(RunCommand("cut -d' ' -f3 " + state).output, "S\n");
}

TEST(Hook, TellsSuccessFromFailure) {
  EXPECT_TRUE(RunCommand("true").status.ok());
  const HookResult failed = RunCommand("echo line 14 is wrong >&2; exit 3");
  EXPECT_EQ(failed.status.message(), "the command failed with exit code 3");
  EXPECT_EQ(failed.output, "line 14 is wrong\n");
  EXPECT_TRUE(absl::StrContains(RunCommand("kill -9 $$").status.message(), "signal 9"));
  EXPECT_TRUE(absl::StrContains(RunCommand("/no/such/command").status.message(), "127"));
}

TEST(Hook, IsNotTakenForPassedWhenNobodySawItsEnd) {
  signal(SIGCHLD, SIG_IGN);
  EXPECT_FALSE(RunCommand("exit 1").status.ok());
  signal(SIGCHLD, SIG_DFL);
}

TEST(Hook, SeesItsVariablesAndNoSecretOfOurs) {
  setenv("PARLEY_JOIN_KEY", "prl1.secret", 1);
  setenv("OTHER", "kept", 1);
  EXPECT_EQ(RunCommand("echo $PARLEY_TASK $PARLEY_REVISION $OTHER; env | grep -c KEY").output, "tasks/t 3 kept\n0\n");
  unsetenv("PARLEY_JOIN_KEY");
}

TEST(Hook, GetsNoInputAndNoDescriptorsButTheStandardOnes) {
  const int leaked = open("/dev/null", O_RDONLY);                        // Without O_CLOEXEC.
  EXPECT_EQ(RunCommand("cat; ls /proc/self/fd | wc -w").output, "4\n");  // 0 to 2, and that of ls.
  close(leaked);
}

TEST(Hook, KeepsTheEndOfItsOutput) {
  const HookResult result = RunCommand("i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; echo the end");
  EXPECT_TRUE(result.status.ok());
  EXPECT_EQ(result.output.size(), kMaxHookOutputBytes);
  EXPECT_TRUE(absl::EndsWith(result.output, "line 2999\nthe end\n"));
}

TEST(Hook, IsKilledWithAllItStartedWhenItHangs) {
  // Time enough to come as far as the loop on a machine that has much else to do.
  const HookResult result =
      RunCommand("sleep 1000 & echo $!; trap '' TERM; while true; do sleep 1; done", absl::Seconds(4));
  EXPECT_TRUE(absl::StrContains(result.status.message(), "did not end within 4s"));
  EXPECT_LT(result.duration, absl::Seconds(1000));
  ExpectSleeperGone(result);
}

TEST(Hook, MayPrintALotCloseItsOutputOrNeverStopTalking) {
  const HookResult much = RunCommand("head -c 104857600 /dev/zero; echo; echo the end");
  EXPECT_TRUE(much.status.ok()) << much.status;
  EXPECT_EQ(much.output.size(), kMaxHookOutputBytes);
  EXPECT_TRUE(absl::EndsWith(much.output, "the end\n"));
  EXPECT_TRUE(RunCommand("exec >&- 2>&-; sleep 0.05; true").status.ok());
  const HookResult endless = RunCommand("yes", absl::Milliseconds(200));
  EXPECT_TRUE(absl::StrContains(endless.status.message(), "did not end within")) << endless.status;
}

TEST(Hook, RunsInTheFolderThatIsThereNow) {
  HookCommand hook{
      .command = "pwd; echo $PWD", .variables = {}, .timeout = absl::Seconds(20), .folder = "/usr", .started = nullptr};
  EXPECT_EQ(RunHook(hook).output, "/usr\n/usr\n");
  hook.folder = "/no/such/folder";
  EXPECT_EQ(RunHook(hook).output, "/\n/\n");
}

TEST(Hook, DoesNotRunBeforeItIsNotedOrWhenItMayNot) {
  HookCommand hook{
      .command = "echo ran", .variables = {}, .timeout = absl::Seconds(20), .folder = "/", .started = [](pid_t) {
        return absl::UnavailableError("not now");
      }};
  const HookResult result = RunHook(hook);
  EXPECT_EQ(result.status.message(), "not now");
  EXPECT_EQ(result.output, "");
}

TEST(Hook, LeavesNothingOfItsGroupRunningWhenItFails) { ExpectSleeperGone(RunCommand("sleep 1000 & echo $!; exit 1")); }

TEST(Hook, LeavesNothingRunningThatHasMadeAGroupOfItsOwn) {
  const std::string command =
      "pipe=$(mktemp -u); mkfifo $pipe; timeout 1000 sh -c 'echo $$; exec sleep 1000' >$pipe & read sleeper <$pipe; "
      "echo $sleeper; rm $pipe; ";
  ExpectSleeperGone(RunCommand(command + "exit 1"));
  ExpectSleeperGone(RunCommand(command + "trap '' TERM; while true; do sleep 1; done", absl::Seconds(4)));
}

TEST(Hook, DoesNotWaitForWhatItLeavesRunning) {
  const HookResult result = RunCommand("sleep 1000 & echo $!");
  EXPECT_TRUE(result.status.ok());
  int sleeper = 0;
  ASSERT_TRUE(absl::SimpleAtoi(result.output, &sleeper));
  EXPECT_EQ(kill(sleeper, SIGKILL), 0);
}

}  // namespace
}  // namespace parley::agent
