"""The public API keeps to the AIPs (google.aip.dev) where buf's lint rules say nothing."""

from api import compile_protos, our_files  # pylint: disable=unused-import

STRING, INT32, MESSAGE = 9, 5, 11
TIMESTAMP = ".google.protobuf.Timestamp"

# RPC, or field, to why it is otherwise.
EXCEPTED = {
    "parley.key.v1.KeyService.WatchAudienceKeys": "each message is the whole state, which has a name of its own",
    "parley.key.v1.KeyService.WatchRevocations": "each message is a piece of the state, which has a name of its own",
    "parley.enrol.v1.InvitationService.ResendInvitation": "answers what creating it answered",
    "parley.key.v1.KeyService.IssueServerCertificate": "nothing is kept; two certificates for one key do no harm",
    "parley.task.v1.ParticipationService.Join": "its nonce does that, and proves whose the repeated call is",
    "parley.task.v1.ArtifactService.FetchRevisionChunks": "answers what FetchChunks answers",
    "parley.task.v1.Deferral.until": "the word of the negotiation",
    "parley.task.v1.Offer.deadline": "the word of the negotiation",
    "parley.task.v1.Participant.deferred_until": "the word that its state has",
}


class Api:
    """Messages and RPCs by full name."""

    def __init__(self, files):
        self.messages, self.methods = {}, {}
        for file in our_files(files):
            for message in file.message_type:
                self._add("." + file.package, message)
            for service in file.service:
                for method in service.method:
                    self.methods["%s.%s.%s" % (file.package, service.name, method.name)] = method

    def _add(self, prefix, message):
        name = "%s.%s" % (prefix, message.name)
        self.messages[name] = message
        for nested in message.nested_type:
            self._add(name, nested)

    def fields(self, message):
        return {field.name: field for field in self.messages[message].field} if message in self.messages else {}

    def is_resource(self, message):
        name = self.fields(message).get("name")
        return name is not None and name.number == 1 and name.type == STRING


def answers(files):
    """AIP-131 to 136: an answer is made for its RPC, or is the resource that it read or changed."""
    api = Api(files)
    return ["%s answers %s, which is neither %sResponse nor a resource" % (name, method.output_type[1:], method.name)
            for name, method in api.methods.items()
            if not method.output_type.endswith(".%sResponse" % method.name)
            and not api.is_resource(method.output_type) and name not in EXCEPTED]


def pages(files):
    """AIP-158: a list comes in pages."""
    api, problems = Api(files), []
    for name, method in api.methods.items():
        if not method.name.startswith("List"):
            continue
        asked, answered = api.fields(method.input_type), api.fields(method.output_type)
        missing = [field for field in ("page_size", "page_token") if field not in asked]
        if "next_page_token" not in answered:
            missing.append("next_page_token")
        # A log is read on from a number that stays true, which is more than a page's token says.
        if missing and not any(field.startswith("after_") for field in asked):
            problems.append("%s lists without %s" % (name, ", ".join(missing)))
    return problems


def repetition(files):
    """AIP-155: what makes something carries a request_id, so that a repeated call makes nothing twice."""
    api = Api(files)
    return ["%s makes something and has no request_id" % name for name, method in api.methods.items()
            if method.name.startswith(("Create", "Issue", "Publish", "Enrol", "Found", "Join")) and name not in EXCEPTED
            and "request_id" not in api.fields(method.input_type)]


def names(files):
    """AIP-122 and 131: what is read by name is asked for by `name`."""
    api = Api(files)
    return ["%s takes no name" % name for name, method in api.methods.items()
            if method.name.startswith("Get") and "name" not in api.fields(method.input_type)]


def times(files):
    """AIP-142: a moment is a Timestamp, and its name ends in _time."""
    api, problems = Api(files), []
    for name, message in api.messages.items():
        for field in message.field:
            full_name = "%s.%s" % (name[1:], field.name)
            named = field.name == "time" or field.name.endswith("_time")
            if (field.type == MESSAGE and field.type_name == TIMESTAMP) != named and full_name not in EXCEPTED:
                problems.append("%s: exactly Timestamps are named …_time" % full_name)
    return problems


CHECKS = (answers, pages, repetition, names, times)
