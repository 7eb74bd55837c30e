// The clients and join keys of a task, in the view of operators. Each method is the RPC of its name, behind the gate,
// and returns the errors that the RPC names, or those of the store.
//
// Threads: all methods may be called from any thread; they block on the store.
#ifndef PARLEY_SERVICES_TASKD_PARTICIPANTS_ROSTER_H_
#define PARLEY_SERVICES_TASKD_PARTICIPANTS_ROSTER_H_

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "parley/task/v1/task_service.pb.h"
#include "services/taskd/domain/names.h"
#include "services/taskd/participants/parts.h"

namespace parley::taskd {

class Roster {
 public:
  // `parts` must outlive this.
  explicit Roster(const TaskdParts* parts) : parts_(parts) {}

  absl::Status CreateJoinKey(const rpc::Caller& caller, const task::v1::CreateJoinKeyRequest& request,
                             task::v1::CreateJoinKeyResponse* response);
  absl::Status ListJoinKeys(const task::v1::ListJoinKeysRequest& request, task::v1::ListJoinKeysResponse* response);
  absl::Status RevokeJoinKey(const rpc::Caller& caller, const task::v1::RevokeJoinKeyRequest& request,
                             task::v1::JoinKey* response);

  absl::Status ListParticipants(const task::v1::ListParticipantsRequest& request,
                                task::v1::ListParticipantsResponse* response);
  absl::Status GetParticipant(const task::v1::GetParticipantRequest& request, task::v1::Participant* response);
  absl::Status ExplainParticipant(const task::v1::ExplainParticipantRequest& request,
                                  task::v1::ExplainParticipantResponse* response);
  // Makes the failures of a task that is about to be resumed not count against max_failures any more.
  absl::Status BearFailures(const std::string& task) const;
  absl::Status RetryClients(const rpc::Caller& caller, const task::v1::RetryClientsRequest& request,
                            task::v1::RetryClientsResponse* response);
  absl::Status RevokeParticipant(const rpc::Caller& caller, const task::v1::RevokeParticipantRequest& request,
                                 task::v1::Participant* response);

  // Adds to a commit that it makes a join key, which is tied to the key of its maker, and which `done` then names.
  // `ttl` may be null. Returns the errors of JoinKeyExpiry.
  absl::Status AddJoinKey(const rpc::Caller& caller, const task::v1::Task& task, const google::protobuf::Duration* ttl,
                          int max_members, RequestLog::Request* done, store::Transaction* transaction) const;
  // Returns a join key that was made before, in its pasted form too.
  absl::Status AnswerJoinKey(const std::string& task, const std::string& serial,
                             task::v1::CreateJoinKeyResponse* response) const;

  // Ends the key of a client that joined with this credential (serial in hex), because that was revoked. Returns
  // whether it has ended for that; a client that has joined with another one since is left unchanged. The end may not
  // be in force yet when this returns (RevokedKeys::AwaitAll).
  absl::StatusOr<bool> EndMember(absl::string_view task, absl::string_view client, absl::string_view credential);
  // Does the same for a join key (serial in hex).
  absl::StatusOr<bool> EndJoinKey(absl::string_view task, absl::string_view serial, absl::string_view credential);

 private:
  // Returns a commit that makes the join key, and its part of `done`.
  absl::StatusOr<store::Transaction> NewJoinKey(const rpc::Caller& caller,
                                                const task::v1::CreateJoinKeyRequest& request, const std::string& id,
                                                RequestLog::Request* done) const;
  // Returns the clients that the request names, each once. Returns INVALID_ARGUMENT, or NOT_FOUND if one of them has
  // not joined.
  absl::StatusOr<std::set<std::string>> NamedClients(const std::string& task,
                                                     const task::v1::RetryClientsRequest& request) const;
  // Revokes the key that the client has; with `credential` (serial in hex) only one that it joined with that credential
  // for. `snapshot` is what holds afterwards. Returns whether that has changed something. It is for the caller to wait
  // until that is in force (RevokedKeys), and so below.
  absl::StatusOr<bool> RevokeKey(const ParticipantId& id, absl::string_view reason, absl::string_view credential,
                                 ParticipantSnapshot* snapshot);
  // Returns the revision of the commit; 0 if the key was revoked before.
  absl::StatusOr<int64_t> RevokeKey(const JoinKeyId& id, bool with_credential, JoinKeyRecord* record);
  // Returns how many keys of clients that had joined with the join key have ended.
  absl::StatusOr<int> EndMembersOf(const rpc::Caller& caller, const JoinKeyId& id);
  absl::StatusOr<std::vector<std::string>> ClientsThat(
      const std::string& task, const std::function<bool(const ParticipantRecord&)>& match) const;
  // Returns all clients that have failed, declined or timed out.
  absl::StatusOr<std::vector<std::string>> FailedClients(const std::string& task) const;

  const TaskdParts* const parts_;
};

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_PARTICIPANTS_ROSTER_H_
