// failSafeAfter, localTrip and passiveHealth of a Rollout.
#pragma once

#include "controller/model/objects.h"
#include "controller/model/yaml_reader.h"

namespace weir::model {

/// Fields that are absent keep their defaults; 0 turns each off.
void ReadSafety(const Cursor& spec, Safety& safety);

}  // namespace weir::model
