// Where a list goes on: the key of the last entry that was given, in base 64, and opaque to callers.
//
//   RETURN_IF_ERROR(rpc::ApplyPageToken(request.page_token(), range.end, &range.begin));
//   ASSIGN_OR_RETURN(const store::Page page, store->List(range, page_size));
//   …
//   if (page.more) response->set_next_page_token(rpc::PageToken(page.entries.back().key));
//
// Threads: free functions without state.
#ifndef PARLEY_LIB_RPC_PAGE_H_
#define PARLEY_LIB_RPC_PAGE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace parley::rpc {

std::string PageToken(absl::string_view last_key);

// Moves `begin` behind the key of the token; an empty token leaves it. INVALID_ARGUMENT (PAGE_TOKEN) for a token that
// is not of this list, whose keys go from `begin` up to, not including, `end`.
absl::Status ApplyPageToken(absl::string_view token, absl::string_view end, std::string* begin);

}  // namespace parley::rpc

#endif  // PARLEY_LIB_RPC_PAGE_H_
