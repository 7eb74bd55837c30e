// Who has published what, and how an earlier content comes back.
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/proto_time.h"
#include "lib/crypto/hash.h"
#include "lib/crypto/kdf.h"
#include "lib/payload/chunk.h"
#include "lib/payload/manifest.h"
#include "services/taskd/domain/names.h"
#include "services/taskd/store/keys.h"
#include "services/taskd/store/records.pb.h"
#include "services/taskd/store/task_store.h"
#include "services/taskd/testing/taskd_testing.h"

namespace parley::taskd {
namespace {

using task::v1::ListRevisionsRequest;
using task::v1::ListRevisionsResponse;
using task::v1::PublishRevisionRequest;

class RevisionsTest : public TaskdTest {
 protected:
  static PublishRevisionRequest NewRevision(const std::string& task, const std::string& content,
                                            const std::string& message = "") {
    PublishRevisionRequest request;
    request.set_request_id(crypto::RandomUuid());
    request.set_name(task);
    request.set_message(message);
    task::v1::InlineFile* const file = request.mutable_files()->add_files();
    file->set_path("site.conf");
    file->set_content(content);
    return request;
  }
  static PublishRevisionRequest ContentOf(const std::string& task, int64_t revision, const std::string& message = "") {
    PublishRevisionRequest request;
    request.set_request_id(crypto::RandomUuid());
    request.set_name(task);
    request.set_message(message);
    request.set_content_of_revision(revision);
    return request;
  }
  static absl::StatusOr<Task> Send(TaskdTestClient* client, const PublishRevisionRequest& request) {
    return client->Call(&client->tasks(), &TaskService::Stub::PublishRevision, request);
  }
  absl::StatusOr<Task> Send(const PublishRevisionRequest& request) { return Send(&op(), request); }

  absl::StatusOr<ListRevisionsResponse> ListRevisions(const std::string& task, int page_size = 0,
                                                      const std::string& token = "") {
    ListRevisionsRequest request;
    request.set_parent(task);
    request.set_page_size(page_size);
    request.set_page_token(token);
    return op().Call(&op().tasks(), &TaskService::Stub::ListRevisions, request);
  }
  static absl::StatusOr<task::v1::Revision> GetRevision(TaskdTestClient* client, const std::string& name) {
    task::v1::GetRevisionRequest request;
    request.set_name(name);
    return client->Call(&client->tasks(), &TaskService::Stub::GetRevision, request);
  }
  absl::StatusOr<task::v1::Revision> GetRevision(const std::string& name) { return GetRevision(&op(), name); }
  task::v1::Manifest ManifestOf(const std::string& name) {
    const auto revision = GetRevision(name);
    EXPECT_TRUE(revision.ok()) << revision.status();
    task::v1::Manifest manifest;
    EXPECT_TRUE(manifest.ParseFromString(revision->signed_manifest().manifest()));
    return manifest;
  }

  // The frames that came, in order, and the error.
  static absl::Status Fetch(TaskdTestClient* client, const std::string& name, const std::vector<std::string>& digests,
                            std::string* bytes) {
    task::v1::FetchRevisionChunksRequest request;
    request.set_name(name);
    for (const std::string& digest : digests) request.add_chunks()->set_digest(digest);
    grpc::ClientContext context;
    TaskdTestClient::SetDeadline(&context);
    const auto reader = client->artifacts().FetchRevisionChunks(&context, request);
    task::v1::FetchChunksResponse piece;
    while (reader->Read(&piece)) *bytes += piece.data();
    return client->Explain(reader->Finish());
  }
  absl::Status Fetch(const std::string& name, const std::vector<std::string>& digests) {
    std::string bytes;
    return Fetch(&op(), name, digests, &bytes);
  }
  void Put(const std::string& key, const std::string& value) {
    store::Transaction transaction;
    transaction.Set(key, value);
    ASSERT_TRUE(store_->Commit(std::move(transaction)).ok());
  }
};

TEST_F(RevisionsTest, SayWhoHasPublishedThemWhenAndWhy) {
  task::v1::CreateTaskRequest create = NewTask("site");
  create.set_message("from the template");
  const auto task = Create(create);
  ASSERT_TRUE(task.ok()) << task.status();
  const absl::Time created = clock_.Now();
  clock_.Advance(absl::Minutes(5));
  const auto bob = Connect(access::v1::ROLE_ADMIN, "bob");
  const auto published = Send(bob.get(), NewRevision("tasks/site", "two", "Zwei\nZeilen"));
  ASSERT_TRUE(published.ok()) << published.status();
  Restart();

  const auto all = ListRevisions("tasks/site");
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ(all->next_page_token(), "");
  ASSERT_EQ(all->revisions_size(), 2);
  const task::v1::Revision& second = all->revisions(0);
  EXPECT_EQ(second.name(), "tasks/site/revisions/2");
  EXPECT_EQ(second.revision(), 2);
  EXPECT_EQ(second.author(), "bob");
  EXPECT_EQ(second.message(), "Zwei\nZeilen");
  EXPECT_EQ(ToTime(second.create_time()), created + absl::Minutes(5));
  EXPECT_EQ(second.payload_digest(), published->payload_digest());
  EXPECT_EQ(second.payload_files(), 1);
  EXPECT_EQ(second.payload_bytes(), 3);
  EXPECT_FALSE(second.has_signed_manifest());
  const task::v1::Revision& first = all->revisions(1);
  EXPECT_EQ(first.author(), "olga");
  EXPECT_EQ(first.message(), "from the template");
  EXPECT_EQ(first.payload_digest(), task->task().payload_digest());

  const auto got = GetRevision(Connect(access::v1::ROLE_AUDITOR, "ada").get(), first.name());
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->author(), "olga");
  const auto manifest =
      payload::VerifyManifest(got->signed_manifest(), task->task().verification_key(), "tasks/site", clock_.Now());
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  EXPECT_EQ(manifest->revision(), 1);
}

TEST_F(RevisionsTest, ComeInPages) {
  ASSERT_TRUE(Create(NewTask("site")).ok());
  ASSERT_TRUE(Create(NewTask("other")).ok());
  for (int i = 2; i <= 12; ++i) ASSERT_TRUE(Publish("tasks/site", absl::StrCat("content ", i)).ok());
  std::vector<int64_t> seen;
  std::string token;
  int pages = 0;
  do {
    const auto page = ListRevisions("tasks/site", 5, token);
    ASSERT_TRUE(page.ok()) << page.status();
    for (const task::v1::Revision& revision : page->revisions()) seen.push_back(revision.revision());
    token = page->next_page_token();
    ++pages;
  } while (!token.empty());
  EXPECT_EQ(pages, 3);
  EXPECT_EQ(seen, (std::vector<int64_t>{12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1}));
  token = ListRevisions("tasks/site", 5)->next_page_token();
  EXPECT_EQ(Reason(ListRevisions("tasks/other", 5, token).status()), "PAGE_TOKEN");
  EXPECT_EQ(Reason(ListRevisions("tasks/site", 5, "none").status()), "PAGE_TOKEN");
  EXPECT_EQ(Reason(ListRevisions("tasks/site", 1001).status()), "PAGE_SIZE");
  EXPECT_EQ(Reason(ListRevisions("tasks/site", -1).status()), "PAGE_SIZE");
}

TEST_F(RevisionsTest, OfAnEarlierVersionSayWhatTheirManifestsSay) {
  ASSERT_TRUE(Create(NewTask("site")).ok());
  const absl::Time signed_at = clock_.Now();
  clock_.Advance(absl::Minutes(5));
  for (int i = 2; i <= 60; ++i) ASSERT_TRUE(Publish("tasks/site", absl::StrCat("content ", i)).ok());
  const auto before = GetRevision("tasks/site/revisions/1");
  store::Transaction transaction;
  for (int i = 1; i < 60; ++i) transaction.Delete(RevisionKey("site", i));
  ASSERT_TRUE(store_->Commit(std::move(transaction)).ok());
  const auto after = GetRevision("tasks/site/revisions/1");
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_EQ(after->author(), "");
  EXPECT_EQ(after->message(), "");
  EXPECT_EQ(ToTime(after->create_time()), signed_at);
  EXPECT_EQ(after->payload_digest(), before->payload_digest());
  EXPECT_EQ(after->payload_files(), before->payload_files());
  EXPECT_EQ(after->payload_bytes(), before->payload_bytes());
  // A page has no more than so many manifests read.
  const auto first = ListRevisions("tasks/site");
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->revisions_size(), 51);
  EXPECT_EQ(first->revisions(0).author(), "olga");
  EXPECT_EQ(first->revisions(1).author(), "");
  const auto rest = ListRevisions("tasks/site", 0, first->next_page_token());
  ASSERT_TRUE(rest.ok()) << rest.status();
  EXPECT_EQ(rest->revisions_size(), 9);
  EXPECT_EQ(rest->next_page_token(), "");
}

TEST_F(RevisionsTest, ThatWereNotPublishedAreNotThere) {
  ASSERT_TRUE(Create(NewTask("site")).ok());
  // What a publish has stored that was then given up, or made its way only half.
  Put(ManifestPartKey("site", 2, 0), store_->Get(ManifestPartKey("site", 1, 0))->value);
  Put(RevisionKey("site", 2), store_->Get(RevisionKey("site", 1))->value);
  EXPECT_EQ(Reason(GetRevision("tasks/site/revisions/2").status()), "REVISION_NOT_FOUND");
  EXPECT_EQ(ListRevisions("tasks/site")->revisions_size(), 1);
  const std::string chunk = ManifestOf("tasks/site/revisions/1").files(0).chunks(0);
  EXPECT_EQ(Reason(Fetch("tasks/site/revisions/2", {chunk})), "REVISION_NOT_FOUND");
  EXPECT_EQ(Reason(Send(ContentOf("tasks/site", 2)).status()), "REVISION_NOT_FOUND");
  EXPECT_EQ(Reason(GetRevision("tasks/none/revisions/1").status()), "TASK_NOT_FOUND");
  EXPECT_EQ(Reason(ListRevisions("tasks/none").status()), "TASK_NOT_FOUND");
  EXPECT_EQ(Reason(Fetch("tasks/none/revisions/1", {chunk})), "TASK_NOT_FOUND");
  EXPECT_EQ(Reason(GetRevision("tasks/site/revisions/01").status()), "NAME_MALFORMED");
}

TEST_F(RevisionsTest, TakeAMessageOf200Characters) {
  std::string umlauts;
  for (int i = 0; i < 200; ++i) umlauts += "ü";
  task::v1::CreateTaskRequest create = NewTask("site");
  create.set_message(umlauts + "x");
  EXPECT_EQ(Reason(Create(create).status()), "TEXT_TOO_LONG");
  create.set_message(umlauts);
  ASSERT_TRUE(Create(create).ok());
  EXPECT_EQ(Reason(Send(NewRevision("tasks/site", "two", umlauts + "x")).status()), "TEXT_TOO_LONG");
  ASSERT_TRUE(Send(NewRevision("tasks/site", "two", umlauts)).ok());
  EXPECT_EQ(GetRevision("tasks/site/revisions/2")->message(), umlauts);
}

TEST_F(RevisionsTest, GiveTheirContentToTheNextOneThatTheServerSigns) {
  const auto task = Create(NewTask("site"));
  ASSERT_TRUE(Publish("tasks/site", "broken").ok());
  const PublishRevisionRequest request = ContentOf("tasks/site", 1, "back to where it worked");
  const auto back = Send(request);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->revision(), 3);
  EXPECT_EQ(back->payload_digest(), task->task().payload_digest());
  const auto third = GetRevision("tasks/site/revisions/3");
  EXPECT_EQ(third->message(), "back to where it worked");
  const auto manifest =
      payload::VerifyManifest(third->signed_manifest(), task->task().verification_key(), "tasks/site", clock_.Now());
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  EXPECT_EQ(manifest->revision(), 3);
  // Again, it changes nothing.
  EXPECT_EQ(Send(request)->revision(), 3);
  EXPECT_EQ(ListRevisions("tasks/site")->revisions_size(), 3);
  EXPECT_TRUE(audit_.Text().find("r3, the content of r1") != std::string::npos);

  // A client gets the earlier content under the higher number.
  const JoinedClient member = Join(*task, "web-1");
  const auto client = Connect(member.key);
  TestNegotiation negotiation(client.get(), member.task);
  const NegotiateResponse offered = negotiation.Declare();
  ASSERT_EQ(offered.state(), Participant::STATE_OFFERED);
  EXPECT_EQ(offered.offer().manifest().manifest(), third->signed_manifest().manifest());
}

TEST_F(RevisionsTest, WhoseContentCannotComeBackSayWhy) {
  ASSERT_TRUE(Create(NewTask("site")).ok());
  ASSERT_TRUE(Publish("tasks/site", "two").ok());
  EXPECT_EQ(Reason(Send(ContentOf("tasks/site", 2)).status()), "REVISION_CURRENT");
  for (const int64_t none : {int64_t{0}, int64_t{-1}, int64_t{3}, std::numeric_limits<int64_t>::max()}) {
    EXPECT_EQ(Reason(Send(ContentOf("tasks/site", none)).status()), "REVISION_NOT_FOUND") << none;
  }
  PublishRevisionRequest stale = ContentOf("tasks/site", 1);
  stale.set_etag("1");
  EXPECT_EQ(Reason(Send(stale).status()), "ETAG_DIFFERS");

  // Somebody has written into the store: a bit of the manifest; the manifest of another revision.
  const std::string key = ManifestPartKey("site", 1, 0);
  const std::string good = store_->Get(key)->value;
  task::v1::SignedManifest changed;
  ASSERT_TRUE(changed.ParseFromString(good));
  task::v1::Manifest manifest;
  ASSERT_TRUE(manifest.ParseFromString(changed.manifest()));
  manifest.mutable_files(0)->set_mode(0777);
  changed.set_manifest(manifest.SerializeAsString());
  Put(key, changed.SerializeAsString());
  EXPECT_EQ(Reason(Send(ContentOf("tasks/site", 1)).status()), "MANIFEST_SIGNATURE");
  Put(key, store_->Get(ManifestPartKey("site", 2, 0))->value);
  EXPECT_EQ(Reason(Send(ContentOf("tasks/site", 1)).status()), "RECORD_DAMAGED");
  Put(key, good);
  store::Transaction transaction;
  for (const char* prefix : {"c/", "d/"}) {
    const auto page = store_->List(KeyRange::Prefix(prefix));
    ASSERT_TRUE(page.ok()) << page.status();
    for (const store::Entry& entry : page->entries) transaction.Delete(entry.key);
  }
  ASSERT_TRUE(store_->Commit(std::move(transaction)).ok());
  EXPECT_EQ(Reason(Send(ContentOf("tasks/site", 1)).status()), "CONTENT_GONE");
  EXPECT_EQ(Get("tasks/site").revision(), 2);

  ASSERT_TRUE(Abort("tasks/site", "over").ok());
  EXPECT_EQ(Reason(Send(ContentOf("tasks/site", 1)).status()), "TASK_ENDED");
  EXPECT_EQ(GetRevision("tasks/site/revisions/1")->revision(), 1);
}

TEST_F(RevisionsTest, AreNotSignedByTheServerForATaskWhoseKeyItLacks) {
  const crypto::SigningKey key = crypto::SigningKey::Generate();
  task::v1::UploadChunksRequest chunk;
  chunk.set_digest(crypto::Sha256("one"));
  chunk.set_zstd(payload::CompressChunk("one"));
  {
    grpc::ClientContext context;
    TaskdTestClient::SetDeadline(&context);
    task::v1::UploadChunksResponse response;
    const auto writer = op().artifacts().UploadChunks(&context, &response);
    ASSERT_TRUE(writer->Write(chunk));
    writer->WritesDone();
    ASSERT_TRUE(writer->Finish().ok());
  }
  payload::Files files;
  task::v1::FileEntry& file = *files.Add();
  file.set_path("motd");
  file.set_type(task::v1::FileEntry::TYPE_REGULAR);
  file.set_mode(0644);
  file.set_size(3);
  file.set_sha256(crypto::Sha256("one"));
  file.add_chunks(crypto::Sha256("one"));
  const auto sign = [&](int64_t revision) {
    return *payload::SignManifest({"tasks/own", revision, clock_.Now(), clock_.Now() + absl::Hours(24), ""}, files,
                                  key);
  };
  task::v1::CreateTaskRequest create;
  create.set_request_id(crypto::RandomUuid());
  create.set_task_id("own");
  create.set_title("own");
  create.set_verification_key(key.verification_key());
  *create.mutable_signed_manifest() = sign(1);
  const auto task = Create(create);
  ASSERT_TRUE(task.ok()) << task.status();
  PublishRevisionRequest publish;
  publish.set_request_id(crypto::RandomUuid());
  publish.set_name("tasks/own");
  publish.set_message("by its key");
  *publish.mutable_signed_manifest() = sign(2);
  ASSERT_TRUE(Send(publish).ok());
  EXPECT_EQ(GetRevision("tasks/own/revisions/2")->message(), "by its key");
  EXPECT_EQ(Reason(Send(ContentOf("tasks/own", 1)).status()), "NOT_SERVER_SIGNED");
}

TEST_F(RevisionsTest, GiveTheirContentToOperatorsAlone) {
  const auto task = Create(NewTask("site"));
  ASSERT_TRUE(Publish("tasks/site", "two").ok());
  const task::v1::Manifest first = ManifestOf("tasks/site/revisions/1");
  const std::vector<std::string> chunks(first.files(0).chunks().begin(), first.files(0).chunks().end());
  ASSERT_EQ(chunks.size(), 2u);
  const std::string second = crypto::Sha256("two");

  std::string bytes;
  for (const access::v1::Role role : {access::v1::ROLE_OPERATOR, access::v1::ROLE_ADMIN}) {
    bytes.clear();
    const absl::Status fetched = Fetch(Connect(role, "bob").get(), "tasks/site/revisions/1", chunks, &bytes);
    ASSERT_TRUE(fetched.ok()) << fetched;
    EXPECT_EQ(bytes, payload::CompressChunk(Content().substr(0, 256 * 1024)) +
                         payload::CompressChunk(Content().substr(256 * 1024)));
  }
  EXPECT_EQ(audit_.Count("task.revision_fetched"), 2);
  bytes.clear();
  EXPECT_EQ(Reason(Fetch("tasks/site/revisions/1", {second})), "CHUNK_NOT_OF_REVISION");
  EXPECT_EQ(Reason(Fetch("tasks/site/revisions/2", {second, chunks[0]})), "CHUNK_NOT_OF_REVISION");
  EXPECT_EQ(Reason(Fetch("tasks/site/revisions/1", {})), "CHUNK_COUNT");
  EXPECT_EQ(Reason(Fetch("tasks/site/revisions/1", {"short"})), "DIGEST_MALFORMED");

  const JoinedClient member = Join(*task, "web-1");
  const auto client = Connect(member.key);
  TestNegotiation negotiation(client.get(), member.task);
  negotiation.Declare();
  negotiation.Accept();
  std::vector<std::unique_ptr<TaskdTestClient>> others;
  for (const access::v1::Role role : {access::v1::ROLE_AUDITOR, access::v1::ROLE_SERVICE, access::v1::ROLE_DEVICE}) {
    others.push_back(Connect(role, "somebody"));
  }
  others.push_back(Connect(member.key));
  others.push_back(Connect(KeyOf(ParseJoinKey(task->join_key().pasted()))));
  for (const auto& other : others) {
    EXPECT_EQ(Reason(Fetch(other.get(), "tasks/site/revisions/2", {second}, &bytes)), "ROLE_NOT_ALLOWED");
    EXPECT_EQ(Reason(Fetch(other.get(), "tasks/site/revisions/1", chunks, &bytes)), "ROLE_NOT_ALLOWED");
  }
  EXPECT_EQ(bytes, "");
  EXPECT_EQ(Reason(GetRevision(client.get(), "tasks/site/revisions/2").status()), "ROLE_NOT_ALLOWED");
}

// What a member may have stays what is on offer to it, of its own task.
TEST_F(RevisionsTest, ThatAreNotOnOfferStayHiddenFromMembers) {
  const auto task = Create(NewTask("site"));
  const std::string former = ManifestOf("tasks/site/revisions/1").files(0).chunks(0);
  task::v1::CreateTaskRequest create = NewTask("other");
  create.mutable_files()->mutable_files(0)->set_content("of another task");
  ASSERT_TRUE(Create(create).ok());
  ASSERT_TRUE(Publish("tasks/site", "two").ok());
  const JoinedClient member = Join(*task, "web-1");
  const auto client = Connect(member.key);
  TestNegotiation negotiation(client.get(), member.task);
  negotiation.Declare();
  negotiation.Accept();
  std::string bytes;
  const auto fetch = [&](const std::string& task_name, int64_t revision, const std::string& digest) {
    task::v1::FetchChunksRequest request;
    request.set_task(task_name);
    request.set_revision(revision);
    request.add_chunks()->set_digest(digest);
    grpc::ClientContext context;
    TaskdTestClient::SetDeadline(&context);
    const auto reader = client->artifacts().FetchChunks(&context, request);
    task::v1::FetchChunksResponse piece;
    while (reader->Read(&piece)) bytes += piece.data();
    return Reason(client->Explain(reader->Finish()));
  };
  EXPECT_EQ(fetch("tasks/site", 1, former), "REVISION_NOT_OFFERED");
  EXPECT_EQ(fetch("tasks/site", 2, former), "CHUNK_NOT_OF_REVISION");
  EXPECT_EQ(fetch("tasks/site", 2, crypto::Sha256("of another task")), "CHUNK_NOT_OF_REVISION");
  EXPECT_EQ(fetch("tasks/other", 1, crypto::Sha256("of another task")), "OTHER_TASK");
  EXPECT_EQ(bytes, "");
  EXPECT_EQ(fetch("tasks/site", 2, crypto::Sha256("two")), "");
  EXPECT_EQ(bytes, payload::CompressChunk("two"));
}

}  // namespace
}  // namespace parley::taskd
