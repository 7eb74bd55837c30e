#include "services/taskd/domain/declared.h"

#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "lib/base/proto_time.h"
#include "lib/crypto/hash.h"
#include "lib/task/states.h"
#include "services/taskd/domain/selection.h"

namespace parley::taskd {
namespace {

using task::v1::Declaration;
using task::v1::Participant;

// Digest of what the client has had last by its own word; empty when it never had a revision. Records of earlier
// versions do not say, but their state does.
std::string HeldDigest(const ParticipantRecord& record) {
  if (record.held_revision() > 0) return record.held_digest();
  return task::IsInstalled(record.participant().state()) ? record.participant().installed_digest() : "";
}

// Holds until the client has what it had, or has another revision. A client that is hindered may be unable to read what
// is installed; that is no drift.
void NoteDrift(const Declaration& declaration, ParticipantRecord* record) {
  const std::string held = HeldDigest(*record);
  Participant& participant = *record->mutable_participant();
  if (held.empty()) return;
  if (declaration.installed_digest() == held) return participant.set_drifted(false);
  const bool unknown = declaration.installed_digest().empty() && declaration.has_hindrance();
  if (!task::IsInstalled(participant.state()) || unknown) return;
  participant.set_drifted(true);
  record->set_held_digest(held);
  if (record->held_revision() == 0) record->set_held_revision(participant.revision());
}

// Two machines that speak in turn under one name are told by their runs: one comes back that another had replaced.
void NoteInstance(const std::string& instance, absl::Time now, ParticipantRecord* record) {
  if (instance.empty() || instance == record->instance()) return;
  if (instance == record->previous_instance()) *record->mutable_participant()->mutable_duplicate_time() = ToProto(now);
  record->set_previous_instance(record->instance());
  record->set_instance(instance);
}

// SHA-256 of all but what is installed that decides on the client's side whether an update succeeds.
std::string Circumstances(const ParticipantRecord& record) {
  Declaration what;
  *what.mutable_labels() = record.participant().labels();
  *what.mutable_facts() = record.participant().facts();
  *what.mutable_windows() = record.declaration().windows();
  what.set_setup_digest(record.declaration().setup_digest());
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream output(&stream);
    output.SetSerializationDeterministic(true);
    what.SerializeToCodedStream(&output);
  }
  return crypto::Sha256(bytes);
}

}  // namespace

bool TakeDeclaration(const Declaration& declaration, absl::Time now, ParticipantRecord* record) {
  NoteDrift(declaration, record);
  NoteInstance(declaration.instance(), now, record);
  Participant& participant = *record->mutable_participant();
  *participant.mutable_facts() = FactsOf(declaration.facts(), declaration.labels());
  participant.set_installed_digest(declaration.installed_digest());
  participant.set_installed_revision(declaration.installed_revision());
  Declaration& kept = *record->mutable_declaration();
  kept = declaration;
  // These stand elsewhere in the record.
  kept.clear_labels();
  kept.clear_facts();
  kept.clear_installed_digest();
  kept.clear_installed_revision();
  kept.clear_retry();
  kept.clear_instance();
  if (!declaration.retry()) return false;
  if (!declaration.instance().empty() && declaration.instance() == record->retried_instance()) return false;
  record->set_retried_instance(declaration.instance());
  return true;
}

void TakeInstalled(int64_t revision, const std::string& digest, ParticipantRecord* record) {
  Participant& participant = *record->mutable_participant();
  participant.set_installed_digest(digest);
  participant.set_installed_revision(revision);
  participant.set_drifted(false);
  record->set_held_revision(revision);
  record->set_held_digest(digest);
}

void RememberFailure(ParticipantRecord* record) {
  record->set_failed_circumstances(Circumstances(*record));
  if (!record->has_digest_at_offer()) record->set_digest_at_offer(record->participant().installed_digest());
}

bool SomethingMatteredChanged(const ParticipantRecord& before, const ParticipantRecord& after) {
  // A record of an earlier version remembers nothing, but has been left as it was since.
  const bool remembers = !before.failed_circumstances().empty();
  const std::string circumstances = remembers ? before.failed_circumstances() : Circumstances(before);
  if (Circumstances(after) != circumstances) return true;
  const std::string& installed = remembers ? before.digest_at_offer() : before.participant().installed_digest();
  const std::string& now_installed = after.participant().installed_digest();
  // What another task has installed over is that task's doing, and says nothing about this one's set.
  if (now_installed == installed || !after.declaration().taken_over().empty()) return false;
  // After a failed roll-back a client has nothing that it would vouch for: that is the failure itself.
  return !now_installed.empty() || before.participant().state() != Participant::STATE_ROLLBACK_FAILED;
}

}  // namespace parley::taskd
