#include "services/taskd/domain/names.h"

#include <gtest/gtest.h>

#include "lib/base/error.h"

namespace parley::taskd {
namespace {

TEST(Names, AcceptOnlyTheirForm) {
  EXPECT_TRUE(IsTaskId("nginx-tls-7k3q"));
  for (const char* id : {"", "ab", "1abc", "abc-", "Abc", "a/b", "a.b", "abcdefghijklmnopqrstuvwxyzabcdefg"}) {
    EXPECT_FALSE(IsTaskId(id)) << id;
  }
  EXPECT_TRUE(IsClientId("web-1.example"));
  for (const char* id : {"", "-a", ".", "..", "a/b", "a b", "A"}) EXPECT_FALSE(IsClientId(id)) << id;
  EXPECT_FALSE(IsClientId(std::string(65, 'a')));
}

TEST(Names, ParseWhatTheyFormat) {
  EXPECT_EQ(*ParseTaskName(TaskName("abc")), "abc");
  const auto participant = ParseParticipantName(ParticipantName("abc", "web-1"));
  EXPECT_EQ(participant->task, "abc");
  EXPECT_EQ(participant->client, "web-1");
  const std::string serial(32, 'a');
  EXPECT_EQ(ParseJoinKeyName(JoinKeyName("abc", serial))->serial, serial);
  for (const char* name : {"", "tasks/", "tasks/abc/x", "task/abc", "tasks/abc/participants/../x"}) {
    EXPECT_EQ(Reason(ParseParticipantName(name).status()), "NAME_MALFORMED") << name;
  }
}

TEST(Names, OfRevisionsHaveOneForm) {
  const auto revision = ParseRevisionName(RevisionName("abc", 12));
  EXPECT_EQ(revision->task, "abc");
  EXPECT_EQ(revision->revision, 12);
  for (const char* number : {"", "0", "-1", "+1", "01", "1x", " 1", "9223372036854775808", "1/2"}) {
    const std::string name = std::string("tasks/abc/revisions/") + number;
    EXPECT_EQ(Reason(ParseRevisionName(name).status()), "NAME_MALFORMED") << name;
  }
  for (const char* name : {"", "tasks/abc", "tasks/abc/revision/1", "tasks/A/revisions/1"}) {
    EXPECT_EQ(Reason(ParseRevisionName(name).status()), "NAME_MALFORMED") << name;
  }
}

TEST(Names, OfMembersStandForOneClientOfOneTask) {
  const std::string tag = ClientTag("abc", "web-1");
  EXPECT_EQ(tag.size(), 13u);
  EXPECT_NE(tag, ClientTag("abc", "web-2"));
  EXPECT_NE(tag, ClientTag("abd", "web-1"));
  const MemberId member = ParseMemberSubject(MemberSubject("abc", tag));
  EXPECT_EQ(member.task, "abc");
  EXPECT_EQ(member.tag, tag);
  EXPECT_EQ(ParseMemberSubject("abc").task, "");
}

TEST(Names, MadeFromATitleAreTaskIds) {
  const std::string random = "\x12\x34\x56\x78";
  EXPECT_EQ(TaskIdFromTitle("Nginx: new TLS!", random).substr(0, 14), "nginx-new-tls-");
  for (const std::string& title : {std::string(), std::string("…"), std::string("9 lives"), std::string(200, 'x'),
                                   std::string("a-------------------------------b"), std::string(31, '9')}) {
    EXPECT_TRUE(IsTaskId(TaskIdFromTitle(title, random))) << TaskIdFromTitle(title, random);
  }
}

}  // namespace
}  // namespace parley::taskd
