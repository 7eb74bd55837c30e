// Tasks, clients and what happens to them, for the tests of the state machine.
#ifndef PARLEY_SERVICES_TASKD_DOMAIN_PARTICIPANT_TESTING_H_
#define PARLEY_SERVICES_TASKD_DOMAIN_PARTICIPANT_TESTING_H_

#include <string>
#include <vector>

#include "lib/base/proto_time.h"
#include "lib/task/states.h"
#include "services/taskd/domain/participant.h"
#include "services/taskd/domain/validation.h"

namespace parley::taskd {

using task::v1::ConfirmRequest;
using task::v1::Declaration;
using task::v1::NegotiateRequest;
using task::v1::Participant;
using task::v1::Task;

inline const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);
inline constexpr char kConnection[] = "connection-2";

inline std::string Name(ParticipantState state) { return Participant::State_Name(state).substr(sizeof("STATE_") - 1); }

inline std::vector<ParticipantState> AllStates() {
  std::vector<ParticipantState> states;
  for (int i = 1; i <= Participant::State_MAX; ++i) states.push_back(static_cast<ParticipantState>(i));
  return states;
}

inline std::string Digest(char c) { return std::string(32, c); }

inline TaskRecord MakeTask(Task::State state = Task::STATE_OPEN, int64_t revision = 1) {
  TaskRecord record;
  Task& task = *record.mutable_task();
  task.set_name("tasks/nginx-tls");
  task.set_state(state);
  task.set_revision(revision);
  task.set_max_deferrals(3);
  task.set_payload_bytes(1000);
  task.set_payload_digest(Digest(static_cast<char>('0' + revision)));
  *task.mutable_create_time() = ToProto(kNow - absl::Hours(1));
  *task.mutable_start_time() = ToProto(state == Task::STATE_SCHEDULED ? kNow + absl::Hours(1) : kNow - absl::Hours(1));
  *task.mutable_expire_time() = ToProto(kNow + absl::Hours(24));
  *task.mutable_leases() = *CompleteLeases({});
  *record.mutable_manifest_expire_time() = task.expire_time();
  return record;
}

inline Declaration MakeDeclaration() {
  Declaration declaration;
  declaration.add_encodings("zstd");
  (*declaration.mutable_facts())["os"] = "linux";
  return declaration;
}

// Returns a client that has got to this state in revision 1.
inline ParticipantRecord MakeRecord(ParticipantState state, ParticipantState lost = Participant::STATE_UNSPECIFIED) {
  ParticipantRecord record = NewParticipant("web-1", MakeTask(), kNow);
  Participant& participant = *record.mutable_participant();
  participant.set_state(state);
  participant.set_lost_state(lost);
  participant.set_version(7);
  if (state != Participant::STATE_JOINED) {
    participant.set_attempt(1);
    *record.mutable_declaration() = MakeDeclaration();
    record.mutable_declaration()->clear_facts();
    (*participant.mutable_facts())["os"] = "linux";
    record.set_offered_digest(Digest('1'));
  }
  if (state == Participant::STATE_DEFERRED) {
    participant.set_deferrals(1);
    *participant.mutable_deferred_until() = ToProto(kNow - absl::Minutes(1));
  }
  if (state == Participant::STATE_COUNTERED) {
    *record.mutable_window()->mutable_start_time() = ToProto(kNow);
    *record.mutable_window()->mutable_end_time() = ToProto(kNow + absl::Hours(1));
  }
  if (task::IsAtRest(state)) participant.clear_lease_time();
  if (task::IsInstalled(state)) {
    participant.set_installed_digest(Digest('1'));
    record.set_held_revision(1);
    record.set_held_digest(Digest('1'));
  }
  if (state == Participant::STATE_CANCELED) *participant.mutable_revoke_time() = ToProto(kNow);
  if (task::Place(participant) == Participant::STATE_CHECKING) record.set_checking_connection("connection-1");
  return record;
}

inline ParticipantRecord Hindered(ParticipantRecord record) {
  record.mutable_participant()->set_hindered(true);
  return record;
}

inline NegotiateRequest Message(const ParticipantRecord& record) {
  NegotiateRequest request;
  request.set_task("tasks/nginx-tls");
  request.set_sequence(2);
  request.set_attempt(record.participant().attempt());
  request.set_expected_version(record.participant().version());
  return request;
}

using Result = absl::StatusOr<std::optional<ParticipantRecord>>;

inline Result Send(const ParticipantRecord& record, const NegotiateRequest& request, const TaskRecord& task,
                   absl::Time now = kNow) {
  Event event{Event::Kind::kRequest};
  event.request = &request;
  event.connection = kConnection;
  return Advance(record, event, task, now);
}

inline NegotiateRequest Report(const ParticipantRecord& record, ParticipantState state) {
  NegotiateRequest request = Message(record);
  request.mutable_progress()->set_state(state);
  return request;
}

inline Result Confirm(const ParticipantRecord& record, const TaskRecord& task, absl::string_view digest,
                      absl::string_view connection = kConnection) {
  ConfirmRequest confirm;
  confirm.set_attempt(record.participant().attempt());
  confirm.set_expected_version(record.participant().version());
  confirm.set_installed_digest(std::string(digest));
  Event event{Event::Kind::kConfirm};
  event.confirm = &confirm;
  event.connection = connection;
  return Advance(record, event, task, kNow);
}

inline Result ApplyEvent(const ParticipantRecord& record, Event::Kind kind, const TaskRecord& task,
                         absl::Time now = kNow) {
  Event event{kind};
  event.version = record.participant().version();
  return Advance(record, event, task, now);
}

// Returns what the client has declared before.
inline Declaration Again(const ParticipantRecord& record) {
  Declaration declaration = MakeDeclaration();
  declaration.set_installed_digest(record.participant().installed_digest());
  return declaration;
}

inline Result Declare(const ParticipantRecord& record, const Declaration& declaration, const TaskRecord& task,
                      absl::Time now = kNow) {
  NegotiateRequest request = Message(record);
  *request.mutable_declare() = declaration;
  return Send(record, request, task, now);
}

// Returns "OFFERED", "=" for unchanged, or "–" for refused.
inline std::string Outcome(const ParticipantRecord& record, const Result& result) {
  if (!result.ok()) return "–";
  if (!result->has_value() || (**result).participant().state() == record.participant().state()) return "=";
  return Name((**result).participant().state());
}

inline ParticipantRecord Declared(const Declaration& declaration, const TaskRecord& task, absl::Time now = kNow) {
  return **Declare(NewParticipant("web-1", task, now), declaration, task, now);
}

inline void AddWindow(absl::Duration from, absl::Duration to, Declaration* declaration) {
  task::v1::Window* const window = declaration->add_windows();
  *window->mutable_start_time() = ToProto(kNow + from);
  *window->mutable_end_time() = ToProto(kNow + to);
}

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_DOMAIN_PARTICIPANT_TESTING_H_
