#include "lib/service/reflection.h"

#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/descriptor.pb.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"
#include "lib/base/mutex.h"
#include "lib/rpc/out_stream.h"

namespace parley::service {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using grpc::reflection::v1alpha::ServerReflection;
using grpc::reflection::v1alpha::ServerReflectionRequest;
using grpc::reflection::v1alpha::ServerReflectionResponse;

const DescriptorPool& Pool() { return *DescriptorPool::generated_pool(); }

void Fail(grpc::StatusCode code, const std::string& message, ServerReflectionResponse* response) {
  response->mutable_error_response()->set_error_code(static_cast<int>(code));
  response->mutable_error_response()->set_error_message(message);
}

// What was asked for stands in the response as a whole already.
void NotFound(const std::string& what, ServerReflectionResponse* response) {
  Fail(grpc::StatusCode::NOT_FOUND, absl::StrCat("there is no ", what.substr(0, 200), " here"), response);
}

// Returns a file as bytes. They are made once for each file of the program, as a handler must not take long.
std::string BytesOf(const FileDescriptor* file) {
  static Mutex mutex;
  static auto* const bytes = new std::map<const FileDescriptor*, std::string>;
  MutexLock lock(&mutex);
  const auto [made, is_new] = bytes->try_emplace(file);
  if (is_new) {
    google::protobuf::FileDescriptorProto proto;
    file->CopyTo(&proto);
    made->second = proto.SerializeAsString();
  }
  return made->second;
}

// Adds the file, and after it those that it needs.
void AddFile(const FileDescriptor* file, std::set<const FileDescriptor*>* added, ServerReflectionResponse* response) {
  if (!added->insert(file).second) return;
  response->mutable_file_descriptor_response()->add_file_descriptor_proto(BytesOf(file));
  for (int i = 0; i < file->dependency_count(); ++i) AddFile(file->dependency(i), added, response);
}

void AnswerFile(const FileDescriptor* file, const std::string& what, ServerReflectionResponse* response) {
  if (file == nullptr) return NotFound(what, response);
  std::set<const FileDescriptor*> added;
  AddFile(file, &added, response);
}

void AnswerExtensionNumbers(const std::string& type, ServerReflectionResponse* response) {
  const Descriptor* const message = Pool().FindMessageTypeByName(type);
  if (message == nullptr) return NotFound(type, response);
  auto* const numbers = response->mutable_all_extension_numbers_response();
  numbers->set_base_type_name(type);
  std::vector<const FieldDescriptor*> extensions;
  Pool().FindAllExtensions(message, &extensions);
  for (const FieldDescriptor* const extension : extensions) numbers->add_extension_number(extension->number());
}

ServerReflectionResponse Answer(const std::vector<std::string>& services, const ServerReflectionRequest& request) {
  ServerReflectionResponse response;
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  switch (request.message_request_case()) {
    case ServerReflectionRequest::kFileByFilename:
      AnswerFile(Pool().FindFileByName(request.file_by_filename()), request.file_by_filename(), &response);
      break;
    case ServerReflectionRequest::kFileContainingSymbol:
      AnswerFile(Pool().FindFileContainingSymbol(request.file_containing_symbol()), request.file_containing_symbol(),
                 &response);
      break;
    case ServerReflectionRequest::kFileContainingExtension: {
      const auto& wanted = request.file_containing_extension();
      const Descriptor* const message = Pool().FindMessageTypeByName(wanted.containing_type());
      const FieldDescriptor* const extension =
          message == nullptr ? nullptr : Pool().FindExtensionByNumber(message, wanted.extension_number());
      AnswerFile(extension == nullptr ? nullptr : extension->file(),
                 absl::StrCat("extension ", wanted.extension_number(), " of ", wanted.containing_type()), &response);
      break;
    }
    case ServerReflectionRequest::kAllExtensionNumbersOfType:
      AnswerExtensionNumbers(request.all_extension_numbers_of_type(), &response);
      break;
    case ServerReflectionRequest::kListServices:
      for (const std::string& name : services) response.mutable_list_services_response()->add_service()->set_name(name);
      break;
    case ServerReflectionRequest::MESSAGE_REQUEST_NOT_SET:
      Fail(grpc::StatusCode::UNIMPLEMENTED, "the request asks for nothing that is known here", &response);
  }
  return response;
}

// Answers one question after another.
class Stream final : public rpc::OutStream<grpc::ServerBidiReactor<ServerReflectionRequest, ServerReflectionResponse>,
                                           ServerReflectionResponse> {
 public:
  explicit Stream(const std::vector<std::string>* services) : services_(services) {}
  void Begin() {
    UnlessClosing([this] { StartRead(&request_); });
  }

 private:
  void OnReadDone(bool ok) override {
    if (!ok) return Close(absl::OkStatus());
    Send(Answer(*services_, request_));
  }
  void OnSent() override { Begin(); }

  const std::vector<std::string>* const services_;
  ServerReflectionRequest request_;
};

class Reflection final : public ServerReflection::CallbackService {
 public:
  explicit Reflection(std::vector<std::string> services) : services_(std::move(services)) {
    services_.push_back(ServerReflection::service_full_name());
  }

 private:
  Stream::Reactor* ServerReflectionInfo(grpc::CallbackServerContext*) override {
    const auto stream = std::make_shared<Stream>(&services_);
    stream->Adopt();
    stream->Begin();
    return stream.get();
  }

  std::vector<std::string> services_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeReflection(std::vector<std::string> services) {
  return std::make_unique<Reflection>(std::move(services));
}

}  // namespace parley::service
