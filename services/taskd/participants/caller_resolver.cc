#include "services/taskd/participants/caller_resolver.h"

#include "lib/audit/audit_log.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "services/taskd/domain/names.h"
#include "services/taskd/store/keys.h"

namespace parley::taskd {

absl::StatusOr<Member> CallerResolver::Identify(const rpc::Caller& caller, absl::string_view method,
                                                absl::string_view task_name) const {
  const MemberId id = ParseMemberSubject(caller.subject());
  if (id.task.empty() || task_name != TaskName(id.task)) {
    return RecordRefusal(audit_, caller.Name(), method, "OTHER_TASK",
                         "this key is for another task than the one that is named");
  }
  if (const auto known = clients_.Find(TagKey(id.task, id.tag))) return Member{id.task, *known};
  ASSIGN_OR_RETURN(std::string client, store_->ClientOfTag(id.task, id.tag));
  Joined(id.task, id.tag, client);
  return Member{id.task, std::move(client)};
}

void CallerResolver::Joined(absl::string_view task, absl::string_view tag, absl::string_view client) const {
  const std::string key = TagKey(task, tag);
  clients_.Put(key, std::make_shared<const std::string>(client), key.size() + client.size());
}

absl::StatusOr<ParticipantSnapshot> CallerResolver::Load(const rpc::Caller& caller, const Member& member,
                                                         const ParticipantUpdater::Check& also) const {
  return updater_->LoadRecent(member.task, member.client, [&](const ParticipantSnapshot& snapshot) -> absl::Status {
    RETURN_IF_ERROR(CheckKey(caller, snapshot.client.value));
    return also == nullptr ? absl::OkStatus() : also(snapshot);
  });
}

absl::Status CallerResolver::CheckKey(const rpc::Caller& caller, const ParticipantRecord& record) {
  if (!record.participant().has_revoke_time() && HexEncode(record.serial()) == caller.peer->key.key_id) {
    return absl::OkStatus();
  }
  return Error(absl::StatusCode::kUnauthenticated, "KEY_REVOKED", "this client's key was revoked; ask the operator");
}

}  // namespace parley::taskd
