// How many credentials there are, by role and state, for Prometheus.
#ifndef PARLEY_SERVICES_KEYD_SERVICE_METRICS_H_
#define PARLEY_SERVICES_KEYD_SERVICE_METRICS_H_

#include "lib/rpc/metrics.h"
#include "services/keyd/store/key_store.h"

namespace parley::keyd {

// parley_credentials. The store is read at most once a minute, however often somebody asks. All must outlive what is
// returned.
rpc::Metrics::Source CountCredentials(const KeyStore* store, rpc::Metrics* metrics);

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_SERVICE_METRICS_H_
