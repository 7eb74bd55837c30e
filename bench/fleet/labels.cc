#include "bench/fleet/labels.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

namespace parley::bench {

void GiveLabels(google::protobuf::Message* request) {
  const google::protobuf::FieldDescriptor* const field = request->GetDescriptor()->FindFieldByName("labels");
  if (field == nullptr || !field->is_map()) return;
  google::protobuf::Message* const entry = request->GetReflection()->AddMessage(request, field);
  entry->GetReflection()->SetString(entry, field->message_type()->map_key(), kLabel);
  entry->GetReflection()->SetString(entry, field->message_type()->map_value(), kLabelValue);
}

}  // namespace parley::bench
