// Follows all objects of a resource: list, then watch, for ever; resumes, relists and backs off by itself.
// https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
#pragma once

#include <memory>

#include "controller/kubernetes/client/client.h"
#include "controller/kubernetes/client/reflector_core.h"

namespace weir::kubernetes {

/// The Client's thread; callbacks come there too. It keeps of each object its key and resourceVersion only. A
/// callback may destroy it.
class Reflector {
 public:
  /// Nothing is asked before Start(). `client` must outlive it.
  Reflector(Client& client, ReflectorOptions options, ReflectorCallbacks callbacks,
            RandomSource random = SystemRandom());
  /// Stops: no further callbacks.
  ~Reflector();
  Reflector(const Reflector&) = delete;
  Reflector& operator=(const Reflector&) = delete;

  void Start();
  void Stop();

  /// A list was whole once, and the resource is served.
  bool synced() const;
  bool absent() const;
  size_t size() const;
  const ReflectorCounters& counters() const;
  const ReflectorOptions& options() const;

  class Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace weir::kubernetes
