// Compares what a client declares with what is known of it: what became of its files, whether anything has changed that
// decides over an update, whether another machine speaks under its name.
//
// Threads: pure functions.
#ifndef PARLEY_SERVICES_TASKD_DOMAIN_DECLARED_H_
#define PARLEY_SERVICES_TASKD_DOMAIN_DECLARED_H_

#include <string>

#include "absl/time/time.h"
#include "parley/task/v1/participation_service.pb.h"
#include "services/taskd/domain/record.pb.h"

namespace parley::taskd {

// Puts the declaration into the record: facts, what is installed, drift, and duplicates of the client. The state stays.
// Returns whether a person asks for another attempt that this run of the client has not asked for yet.
bool TakeDeclaration(const task::v1::Declaration& declaration, absl::Time now, ParticipantRecord* record);

// Notes that the client has what `digest` says, as `revision`: it was confirmed, or declared.
void TakeInstalled(int64_t revision, const std::string& digest, ParticipantRecord* record);

// Remembers what the client had declared when an update failed or was declined.
void RememberFailure(ParticipantRecord* record);
// Returns whether something that decides over an update differs between the record after a declaration and the failure
// that `before` remembers: labels, facts, windows, commands and target, or what is installed.
bool SomethingMatteredChanged(const ParticipantRecord& before, const ParticipantRecord& after);

}  // namespace parley::taskd

#endif  // PARLEY_SERVICES_TASKD_DOMAIN_DECLARED_H_
