// State as JSON text, for the store.
#pragma once

#include <string>
#include <string_view>

#include "common/status.h"
#include "controller/engine/engine.h"

namespace weir::engine {

/// {"version": 3, ...}; FromJson(ToJson(s)) == s.
std::string ToJson(const State& state);
/// DATA_LOSS naming the field for text that is not such a state, or of a version it does not know.
Result<State> FromJson(std::string_view json);

}  // namespace weir::engine
